"""Look into an audit folder: how far it is, whether its bytes are sound, one sample's picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.config import AuditConfig
from tasks.config_files import merge, parse_override, validate_config
from tasks.errors import EXIT_DAMAGED, EXIT_DONE, EXIT_INCOMPLETE, ConfigError
from tasks.identity import AUDIT_FILE
from tasks.sounds import audible, file_name, wav_bytes
from tasks.store import AuditFolder, Shard, completed_shards, plan_shards
from tasks.store.receipts import damaged_files, drop_receipt, read_receipt, total_statuses


def existing_folder(url: str) -> AuditFolder:
    """Open the folder of an audit.

    Raises:
        ConfigError: If it is not one.
    """
    folder = AuditFolder(url.rstrip("/"))
    if not folder.exists(AUDIT_FILE):
        raise ConfigError(
            f"{url} is not an audit folder: it has no {AUDIT_FILE}. Audit folders stand below "
            "store.url and are named <name>-<8 digits>; `wam-audit plan CONFIG` prints which."
        )
    return folder


def recorded_config(folder: AuditFolder, overrides: Sequence[str] = ()) -> AuditConfig:
    """The configuration an audit was run with, with what differs on this machine overridden.

    Raises:
        ConfigError: If an override is wrong.
    """
    values = folder.read_json(AUDIT_FILE)["config"]
    recorded = validate_config(values, where=folder.uri(AUDIT_FILE))
    for override in overrides:
        values = merge(values, parse_override(override))
    config = validate_config(values, where=folder.uri(AUDIT_FILE))
    changed = _changed_keys(recorded.identity(), config.identity()) - {"dataset.root"}
    if changed:
        raise ConfigError(
            f"--set changes what was computed ({', '.join(sorted(changed))}), which a finished "
            "audit cannot; run another audit. Places (dataset.root, tracking), execution and gates "
            "may be set."
        )
    return config


def audit_status(folder: AuditFolder) -> dict[str, Any]:
    """How far an audit is, from its receipts."""
    audit, shards = _opened(folder)
    receipts = completed_shards(folder, shards, audit["digest"])
    seconds = [sum(receipt.seconds.values()) for receipt in receipts.values()]
    missing = len(shards) - len(receipts)
    mean_seconds = sum(seconds) / len(seconds) if seconds else None
    return {
        "name": audit["name"],
        "folder": folder.url,
        "n_samples": audit["dataset"]["n_samples"],
        "n_shards": len(shards),
        "n_done": len(receipts),
        "missing_shards": [shard.index for shard in shards if shard.index not in receipts],
        "statuses": total_statuses(receipts),
        "complete": missing == 0,
        "published": folder.exists("summary.json"),
        "seconds_per_shard": mean_seconds,
        "seconds_left": None if mean_seconds is None else mean_seconds * missing,
    }


def describe_status(state: dict[str, Any]) -> str:
    """The status in lines for a terminal."""
    counts = ", ".join(f"{count} {status}" for status, count in state["statuses"].items())
    lines = [
        f"{state['name']}: {state['n_done']} of {state['n_shards']} shards done "
        f"({state['n_samples']} samples; so far {counts or 'none'})",
    ]
    if state["complete"]:
        lines.append("complete" if state["published"] else "complete, but not aggregated yet")
    else:
        left = state["seconds_left"]
        time_left = "" if left is None else f"; about {left / 60:.1f} min of work on one worker"
        lines.append(f"incomplete: run the same command again to continue{time_left}")
    return "\n".join(lines)


def verify_files(folder: AuditFolder, *, repair: bool = False) -> dict[str, Any]:
    """Compare every file with the checksum in its shard's receipt.

    Args:
        repair: Drop the receipts of damaged shards, so that the next run computes them anew.
    """
    audit, shards = _opened(folder)
    damaged: list[dict[str, Any]] = []
    missing: list[int] = []
    n_files = 0
    for shard in shards:
        receipt = read_receipt(folder, shard)
        if receipt is None or receipt.config_digest != audit["digest"]:
            missing.append(shard.index)
            continue
        n_files += len(receipt.files)
        names = damaged_files(folder, receipt)
        damaged += [
            {"shard": shard.index, "file": name, "samples": [shard.start, shard.stop]}
            for name in names
        ]
        if names and repair:
            drop_receipt(folder, shard)
            missing.append(shard.index)
    code = EXIT_INCOMPLETE if missing else EXIT_DONE
    return {
        "folder": folder.url,
        "n_files": n_files,
        "damaged": damaged,
        "repaired": repair,
        "missing_shards": missing,
        "exit_code": EXIT_DAMAGED if damaged and not repair else code,
    }


def describe_verification(found: dict[str, Any]) -> str:
    """The result of a verification in lines for a terminal."""
    lines = [f"{found['n_files']} files checked, {len(found['damaged'])} damaged"]
    lines += [
        f"damaged: {entry['file']} (shard {entry['shard']}, samples {entry['samples'][0]} to "
        f"{entry['samples'][1] - 1})"
        for entry in found["damaged"]
    ]
    if found["damaged"] and not found["repaired"]:
        lines.append(
            "`wam-audit verify AUDIT --repair` drops the receipts of damaged shards; running the "
            "audit again computes them anew"
        )
    if found["missing_shards"]:
        lines.append(f"{len(found['missing_shards'])} shards have no receipt; run again")
    return "\n".join(lines)


def picture_sample(folder: AuditFolder, sample_id: str, output: Path | None = None) -> list[Path]:
    """Write a PNG of one sample's explanation, and beside it what is to be heard of a sound.

    Returns:
        The picture, then the WAV files: the input, what the most important coefficients hold, and
        each level of it, all with one gain.

    Raises:
        ConfigError: If the audit has no such sample, or a file cannot be written.
        IncompleteAuditError: If the sample's shard is not done.
    """
    from tasks.gallery import StoredAudit
    from tasks.reporting import sample_figure

    stored = StoredAudit.open(folder)
    explanation = stored.explanation(stored.row_of(sample_id))
    path = output or Path(f"{file_name(sample_id)}.png")
    buffer = io.BytesIO()
    sample_figure(explanation).savefig(buffer, format="png", dpi=120)
    files = {path: buffer.getvalue()}
    if explanation.sample_rate is not None and explanation.signal is not None:
        sounds = {"input": explanation.signal}
        sounds |= {f"rebuilt {name}": one for name, one in explanation.reconstructions.items()}
        levels = explanation.level_reconstructions.items()
        sounds |= {f"rebuilt level {level}": one for level, one in levels}
        files |= {
            path.with_name(f"{path.stem}-{file_name(name)}.wav"): wav_bytes(
                sound, explanation.sample_rate
            )
            for name, sound in audible(sounds).items()
        }
    for place, content in files.items():
        try:
            place.write_bytes(content)
        except OSError as error:
            raise ConfigError(f"cannot write {place}: {error.strerror}") from error
    return list(files)


def _opened(folder: AuditFolder) -> tuple[dict[str, Any], list[Shard]]:
    """The record, whose digest is the audit's, and the shards."""
    # A later version of wam-audit may know more settings, and would compute another digest.
    audit = folder.read_json(AUDIT_FILE)
    shard_size = audit["config"]["store"]["shard_size"]
    return audit, plan_shards(audit["dataset"]["n_samples"], shard_size)


def _changed_keys(before: Any, after: Any, prefix: str = "") -> set[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        changed = set()
        for key in before.keys() | after.keys():
            changed |= _changed_keys(before.get(key), after.get(key), f"{prefix}.{key}")
        return changed
    return set() if before == after else {prefix.removeprefix(".")}
