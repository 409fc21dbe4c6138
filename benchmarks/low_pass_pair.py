"""One architecture trained with and without low-pass augmentation: does the audit tell them apart?

Run: python benchmarks/low_pass_pair.py [WITHOUT.yaml WITH.yaml] [--set KEY=VALUE ...]

Both audits are run (or continued, or found complete), and every scalar that says on which scales a
model relies is printed for both with its interval: from attributions, and from levels removed. The
two are apart where the intervals do not overlap; the direction expected of low-pass training is
coarser.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tasks.config_files import load_config
from tasks.session import audit_url
from tasks.store import AuditFolder

_COARSER = {
    "reliance/scale_centroid": +1,
    "reliance/fine_share": -1,
    "shapley/scale_centroid": +1,
    "shapley/fine_share": -1,
    "pass/half_accuracy_cutoff": +1,
    "texture/t_pass": -1,
}
"""Which way each metric moves when a model relies on coarser structure."""


def main() -> int:
    options = _options()
    first, second = (_metrics(path, options.set) for path in options.configs)
    print(f"{'metric':64}{options.configs[0].stem:>28}{options.configs[1].stem:>28}  verdict")
    verdicts = []
    for key in [key for key in first if key in second]:
        left, right = first[key], second[key]
        verdict = _verdict(key[0], left, right)
        if key[0] in _COARSER:
            verdicts.append(verdict)
        print(f"{_title(key):64}{_text(left):>28}{_text(right):>28}  {verdict}")
    print(", ".join(f"{verdicts.count(word)} {word}" for word in dict.fromkeys(verdicts)))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    default = [Path("configs/esc10_resnet.yaml"), Path("configs/esc10_resnet_low_pass.yaml")]
    parser.add_argument("configs", nargs="*", type=Path, default=default)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def _metrics(path: Path, overrides: list[str]) -> dict[tuple[str, str], dict[str, Any]]:
    command = [sys.executable, "-m", "flows.cli", "run", str(path)]
    for override in overrides:
        command += ["--set", override]
    subprocess.run(command, check=True, stdout=sys.stderr)
    folder = AuditFolder(audit_url(load_config(path, overrides)))
    summary = json.loads(folder.read_bytes("summary.json"))
    return {
        (entry["name"], json.dumps(entry["labels"], sort_keys=True)): entry
        for entry in summary["metrics"]
        if _is_compared(entry)
    }


def _is_compared(entry: dict[str, Any]) -> bool:
    labels = entry["labels"]
    if entry["name"] in {"accuracy/top1", "shapley/value"}:
        return not labels.keys() & {"class"}
    return entry["name"] in _COARSER and not labels.keys() & {"class", "correct"}


def _verdict(name: str, left: dict[str, Any], right: dict[str, Any]) -> str:
    if left["low"] is None or right["low"] is None:
        return "no interval"
    if left["low"] <= right["high"] and right["low"] <= left["high"]:
        return "not apart"
    if name not in _COARSER:
        return "apart"
    moved = right["estimate"] - left["estimate"]
    return "coarser" if moved * _COARSER[name] > 0 else "FINER"


def _title(key: tuple[str, str]) -> str:
    labels = json.loads(key[1])
    return " ".join([key[0], *(f"{name}={value}" for name, value in labels.items())])


def _text(entry: dict[str, Any]) -> str:
    if entry["low"] is None:
        return f"{entry['estimate']:.3f}"
    return f"{entry['estimate']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


if __name__ == "__main__":
    raise SystemExit(main())
