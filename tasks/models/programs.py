"""Models that come as a file with their code: TorchScript archives and exported programs."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from tasks.errors import ModelError


def read_torchscript(
    file: Path | io.BytesIO, location: str, device: torch.device
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Load a TorchScript archive in evaluation mode.

    Returns:
        The module, and the digest of the file as a tensor if its weights are frozen into its code.

    Raises:
        ModelError: If the file is not a TorchScript archive.
    """
    try:
        with warnings.catch_warnings():
            # Users keep TorchScript files for as long as PyTorch opens them.
            warnings.filterwarnings("ignore", message=".*is deprecated", category=FutureWarning)
            warnings.filterwarnings(
                "ignore", message=".*is deprecated", category=DeprecationWarning
            )
            module: nn.Module = torch.jit.load(file, map_location=device)
    except (RuntimeError, ValueError) as error:
        raise _unreadable(location, "TorchScript archive", "torch.jit.save", error) from error
    module.eval()
    constants = {} if module.state_dict() else {"file": _file_digest(file)}
    return module, constants


def read_exported(
    file: Path | io.BytesIO, location: str, device: torch.device
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Load a program saved by torch.export.

    Returns:
        The module, and the constants it computes with.

    Raises:
        ModelError: If the file is no exported program, or was exported in training mode.
    """
    try:
        program = torch.export.load(file)
    except Exception as error:
        raise _unreadable(location, "exported program", "torch.export.save", error) from error
    _check_exported_for_evaluation(program, location)
    program = move_to_device_pass(program, device)
    constants = {
        name: value for name, value in program.constants.items() if isinstance(value, Tensor)
    }
    return program.module(), constants


def _check_exported_for_evaluation(program: torch.export.ExportedProgram, location: str) -> None:
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for position, argument in enumerate(schema.arguments if schema else ()):
            given = node.args[position] if position < len(node.args) else None
            value = node.kwargs.get(argument.name, given)
            if argument.name in ("train", "training") and value is True:
                raise ModelError(
                    f"model.name '{location}' was exported in training mode ({node.target} draws "
                    "random numbers or uses the batch's own statistics), which an exported program "
                    "cannot change. Call model.eval() before torch.export.export."
                )


def _unreadable(location: str, what: str, saved_by: str, error: Exception) -> ModelError:
    first_line = (str(error).strip().splitlines() or ["no message"])[0]
    return ModelError(
        f"model.name '{location}' cannot be opened as a {what}, which {saved_by} writes "
        f"({type(error).__name__}: {first_line}). A state dict goes under model.checkpoint."
    )


def _file_digest(file: Path | io.BytesIO) -> Tensor:
    content = file.read_bytes() if isinstance(file, Path) else file.getvalue()
    return torch.frombuffer(bytearray(hashlib.sha256(content).digest()), dtype=torch.uint8)
