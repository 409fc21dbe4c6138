"""Tidy tables in Parquet, one part per shard, written whole."""

from __future__ import annotations

import io
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import StoreError
from tasks.store.folder import AuditFolder
from tasks.store.receipts import Shard

_ADDRESS = [("sample_index", pa.int64()), ("sample_id", pa.string())]
_VERDICT = [
    ("probability_target", pa.float64()),
    ("predicted", pa.int64()),
    ("correct", pa.bool_()),
    ("kept", pa.bool_()),
]
_CORRUPTION = [("corruption", pa.string()), ("severity", pa.int64())]
_COMPOSITION = [
    ("coefficient_share", pa.float64()),
    ("energy_share", pa.float64()),
    ("kept_of_level", pa.float64()),
]
_PROFILE = [
    ("n_coefficients", pa.int64()),
    ("importance", pa.float64()),
    ("signal_energy", pa.float64()),
    ("share", pa.float64()),
    ("mean_share", pa.float64()),
    ("relative_share", pa.float64()),
]
SCHEMAS: dict[str, pa.Schema] = {
    "samples": pa.schema(
        [
            *_ADDRESS,
            ("source", pa.string()),
            ("label", pa.int64()),
            ("class_name", pa.string()),
            ("group", pa.string()),
            ("fold", pa.string()),
            ("split", pa.string()),
            ("status", pa.string()),
            ("detail", pa.string()),
            ("target", pa.int64()),
            ("predicted", pa.int64()),
            ("correct", pa.bool_()),
            ("probability_label", pa.float64()),
            ("probability_target", pa.float64()),
            ("probability_predicted", pa.float64()),
            ("logit_target", pa.float64()),
        ]
    ),
    "attributions": pa.schema(
        [
            *_ADDRESS,
            ("method", pa.string()),
            ("status", pa.string()),
            ("total_importance", pa.float64()),
            ("scale_centroid_octaves", pa.float64()),
            ("fine_share", pa.float64()),
            ("entropy", pa.float64()),
            ("score_input", pa.float64()),
            ("score_baseline", pa.float64()),
            ("completeness_gap", pa.float64()),
            ("n_passes", pa.int64()),
        ]
    ),
    "levels": pa.schema(
        [
            *_ADDRESS,
            ("method", pa.string()),
            ("level", pa.string()),
            *_PROFILE,
            ("share_standard_error", pa.float64()),
        ]
    ),
    "bands": pa.schema(
        [
            *_ADDRESS,
            ("method", pa.string()),
            ("level", pa.string()),
            ("filters", pa.string()),
            *_PROFILE,
        ]
    ),
    "separation": pa.schema(
        [
            *_ADDRESS,
            ("mixture", pa.string()),
            ("selection", pa.string()),
            ("fraction", pa.float64()),
            ("si_sdr_target", pa.float64()),
            ("si_sdr_interference", pa.float64()),
            ("snr_target", pa.float64()),
            ("snr_interference", pa.float64()),
            ("probability_target", pa.float64()),
        ]
    ),
    "coalitions": pa.schema([*_ADDRESS, ("coalition", pa.int64()), *_VERDICT]),
    "minimal": pa.schema(
        [
            *_ADDRESS,
            ("selection", pa.string()),
            ("restriction", pa.string()),
            ("kept", pa.bool_()),
            ("n_kept", pa.int64()),
            ("fraction", pa.float64()),
            ("next_smaller_fraction", pa.float64()),
            ("probability_target", pa.float64()),
        ]
    ),
    "minimal_levels": pa.schema(
        [*_ADDRESS, ("selection", pa.string()), ("level", pa.string()), *_COMPOSITION]
    ),
    "minimal_masks": pa.schema(
        [
            *_ADDRESS,
            ("alpha", pa.float64()),
            ("n_steps", pa.int64()),
            ("sparsity", pa.float64()),
            ("probability_target", pa.float64()),
            ("kept", pa.bool_()),
            ("binary_fraction", pa.float64()),
            ("binary_probability_target", pa.float64()),
            ("binary_kept", pa.bool_()),
        ]
    ),
    "minimal_mask_levels": pa.schema(
        [*_ADDRESS, ("alpha", pa.float64()), ("level", pa.string()), *_COMPOSITION]
    ),
    "faithfulness": pa.schema(
        [
            *_ADDRESS,
            ("method", pa.string()),
            *[
                (f"{prefix}{area}", pa.float64())
                for prefix in ("", "energy_", "replacement_")
                for area in ("insertion", "deletion", "faith")
            ],
            ("class_contrast", pa.float64()),
            ("random_weights_gap", pa.float64()),
            ("mu_fidelity", pa.float64()),
            ("spectra", pa.float64()),
            ("input_fidelity", pa.bool_()),
            ("drop", pa.float64()),
            ("increase", pa.bool_()),
            ("gain", pa.float64()),
            ("gini", pa.float64()),
            ("hoyer", pa.float64()),
            ("reliability", pa.float64()),
            ("end_point_gap", pa.float64()),
            ("n_steps", pa.int64()),
            ("n_subsets", pa.int64()),
        ]
    ),
    "benchmark": pa.schema(
        [
            *_ADDRESS,
            ("method", pa.string()),
            ("domain", pa.string()),
            ("insertion", pa.float64()),
            ("deletion", pa.float64()),
            ("faith", pa.float64()),
            ("mu_fidelity", pa.float64()),
            ("spectra", pa.float64()),
            ("input_fidelity", pa.bool_()),
        ]
    ),
    "curves": pa.schema(
        [
            *_ADDRESS,
            ("method", pa.string()),
            ("removal", pa.string()),
            ("step", pa.int64()),
            ("fraction", pa.float64()),
            ("insertion_probability", pa.float64()),
            ("deletion_probability", pa.float64()),
        ]
    ),
    "orientations": pa.schema(
        [
            *_ADDRESS,
            ("level", pa.string()),
            ("filters", pa.string()),
            ("kind", pa.string()),
            *_VERDICT,
        ]
    ),
    "suppression": pa.schema(
        [
            *_ADDRESS,
            ("cue", pa.string()),
            ("suppression", pa.string()),
            ("strength", pa.float64()),
            *_VERDICT,
        ]
    ),
    "corruptions": pa.schema(
        [
            *_ADDRESS,
            *_CORRUPTION,
            *_VERDICT,
            ("probability_label", pa.float64()),
            ("confidence", pa.float64()),
            ("nll", pa.float64()),
            ("brier", pa.float64()),
            ("damage_rms", pa.float64()),
            ("reference", pa.string()),
        ]
    ),
    "corruption_levels": pa.schema(
        [
            *_ADDRESS,
            *_CORRUPTION,
            ("level", pa.string()),
            ("damage_power", pa.float64()),
            ("signal_power", pa.float64()),
        ]
    ),
    "critical_bands": pa.schema(
        [*_ADDRESS, ("level", pa.string()), ("noise", pa.float64()), *_VERDICT]
    ),
    "sanity": pa.schema(
        [
            *_ADDRESS,
            ("method", pa.string()),
            ("comparison", pa.string()),
            ("stage", pa.int64()),
            ("layers", pa.string()),
            ("randomised_share", pa.float64()),
            ("spearman", pa.float64()),
            ("spearman_signed", pa.float64()),
            ("spearman_within_bands", pa.float64()),
            ("ssim", pa.float64()),
            ("hog", pa.float64()),
            ("profile_overlap", pa.float64()),
        ]
    ),
    "fourier": pa.schema(
        [
            *_ADDRESS,
            ("kind", pa.string()),
            ("frequency", pa.string()),
            ("octave", pa.int64()),
            ("noise", pa.float64()),
            *_VERDICT,
        ]
    ),
    "cue_conflict": pa.schema(
        [
            *_ADDRESS,
            ("shape", pa.string()),
            ("texture", pa.string()),
            ("decision", pa.string()),
            ("verdict", pa.string()),
            ("probability_shape", pa.float64()),
            ("probability_texture", pa.float64()),
            ("probability_decision", pa.float64()),
        ]
    ),
    "hybrid": pa.schema(
        [
            *_ADDRESS,
            ("cut", pa.int64()),
            ("fine_index", pa.int64()),
            ("fine_id", pa.string()),
            ("coarse_label", pa.int64()),
            ("fine_label", pa.int64()),
            ("coarse_correct", pa.bool_()),
            ("fine_correct", pa.bool_()),
            ("predicted", pa.int64()),
            ("verdict", pa.string()),
            ("probability_coarse", pa.float64()),
            ("probability_fine", pa.float64()),
        ]
    ),
}
"""Columns and types of every table; docs/architecture.md says what they mean."""


def part_name(table: str, shard: Shard) -> str:
    """Path of a shard's part below the audit folder."""
    return f"tables/{table}/part-{shard.name}.parquet"


def write_part(folder: AuditFolder, table: str, shard: Shard, rows: list[dict[str, object]]) -> str:
    """Write a shard's rows of one table; returns the path of the part.

    NaN becomes null: a value that does not exist is missing, not a number.
    """
    schema = SCHEMAS[table]
    data = pa.Table.from_pylist([_without_nan(row) for row in rows], schema=schema)
    buffer = io.BytesIO()
    pq.write_table(data, buffer, compression="zstd")
    name = part_name(table, shard)
    folder.write_bytes(name, buffer.getvalue())
    return name


def read_table(
    folder: AuditFolder, table: str, shards: list[Shard], columns: list[str] | None = None
) -> pd.DataFrame:
    """Rows of one table of some shards, in manifest order."""
    parts = [read_part(folder, table, shard, columns) for shard in shards]
    if not parts:
        rows = SCHEMAS[table].empty_table().select(columns or SCHEMAS[table].names)
        empty: pd.DataFrame = rows.to_pandas(types_mapper=_NULLABLE.get)
        return empty
    return pd.concat(parts, ignore_index=True)


def read_part(
    folder: AuditFolder, table: str, shard: Shard, columns: list[str] | None = None
) -> pd.DataFrame:
    """Rows of one table of one shard; whole numbers and booleans may be missing.

    Raises:
        StoreError: If the part is not there, or its bytes are damaged.
    """
    name = part_name(table, shard)
    content = io.BytesIO(folder.read_bytes(name))
    try:
        rows = pq.read_table(content, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{folder.uri(name)} is damaged: {error}. `wam-audit verify AUDIT --repair` drops the "
            "receipts of damaged shards; running the audit again computes them anew."
        ) from error
    frame: pd.DataFrame = rows.to_pandas(types_mapper=_NULLABLE.get)
    return frame


_NULLABLE: dict[pa.DataType, pd.api.extensions.ExtensionDtype] = {
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def _without_nan(row: dict[str, object]) -> dict[str, object]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
