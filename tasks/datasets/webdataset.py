"""WebDataset shards: tar files in which the files of a sample share their name up to a dot.

Shards are indexed once; a sample's source is the place of its bytes in the shard, so reading a
row reads that row alone. The library expands braces and splits names; shard URLs are never handed
to it, because it would run a `pipe:` URL as a command.
"""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType

import pandas as pd

from tasks.config import DatasetConfig
from tasks.datasets.images import IMAGE_SUFFIXES
from tasks.datasets.labels import label_samples
from tasks.datasets.listing import Listing, make_listing
from tasks.datasets.sample import BadSampleError
from tasks.datasets.storage import (
    DataRoot,
    SampleStore,
    fingerprint,
    fingerprints_of,
    open_root,
    reason,
    relative_path,
)
from tasks.errors import DatasetError
from tasks.locations import expand

_PLACE = re.compile(r"(?P<shard>.+?)@(?P<offset>\d+)\+(?P<size>\d+):.*", re.DOTALL)
_ANY_SIGNAL = frozenset(suffix.removeprefix(".") for suffix in IMAGE_SUFFIXES) | {"npy"}
_BLOCK = 512


@dataclass
class _ShardSample:
    """Files of one sample: suffix to (name, offset, size), and what its .json and .cls say."""

    key: str
    shard: str
    members: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    annotations: dict[str, object] = field(default_factory=dict)
    label: object = None


def list_webdataset(config: DatasetConfig) -> Listing:
    """Every sample of every shard, in the order of the shards; its key is its id.

    The label is the content of `.cls`, or else the key `label_column` of `.json`; other keys of
    `.json` are columns. A sample without signal file stays a row, with the fingerprint `missing`.

    Raises:
        DatasetError: If the library is missing, a shard is missing, compressed or damaged, or a
            member's name leaves the root.
    """
    root, shards = _shards(config)
    samples = [sample for shard in shards for sample in _index(root, shard, config)]
    columns = pd.DataFrame(
        [{**_single_values(sample), "key": sample.key, "shard": sample.shard} for sample in samples]
    )
    labels = [sample.label for sample in samples]
    if config.label_column is None:
        labels = [None] * len(samples)
    elif samples and all(label is None for label in labels):
        raise DatasetError(
            f"{root.url}: no sample of {len(shards)} shards has a label; expected a .cls file, or "
            f"a .json file with the key '{config.label_column}' (dataset.label_column)"
        )
    sources = [_source(sample, _signal_suffixes(config)) for sample in samples]
    return make_listing(
        config,
        columns
        if config.label_column is None
        else columns.assign(**{config.label_column: pd.Series(labels, dtype=object)}),
        sources=sources,
        default_ids=[sample.key for sample in samples],
        labels=label_samples(pd.Series(labels, dtype=object), config, root.url),
        summary=f"webdataset: {len(samples)} samples in {len(shards)} shards",
        fingerprints=partial(_fingerprints, root=root, config=config),
        place=root.url,
    )


def open_webdataset(config: DatasetConfig, digest: str) -> SampleStore:
    """The bytes of each source; every read takes them alone from the shard."""
    del digest
    root = open_root(_base_and_pattern(expand(config.root))[0])
    return SampleStore(root, partial(_read, root))


def _read(root: DataRoot, source: str) -> bytes:
    place = _PLACE.fullmatch(source)
    if place is None:
        raise FileNotFoundError("no signal file in the shard")
    start, size = int(place["offset"]), int(place["size"])
    content = root.read(place["shard"], start, start + size)
    if len(content) != size:
        raise BadSampleError(
            "decode_error", f"expected {size} bytes at {start} of the shard, got {len(content)}"
        )
    return content


def _fingerprints(sources: list[str], root: DataRoot, config: DatasetConfig) -> list[str]:
    def one(source: str) -> str:
        place = _PLACE.fullmatch(source)
        if place is not None and config.fingerprint == "size":
            return f"size:{place['size']}"
        return fingerprint(_read(root, source), config.fingerprint)

    return fingerprints_of(one, sources, root)


def _library() -> ModuleType:
    try:
        import webdataset.shardlists
        import webdataset.tariterators
    except ImportError as error:
        raise DatasetError(
            "dataset.kind: webdataset needs the package 'webdataset', which is not installed; "
            "install the extra: pip install 'wam-audit[webdataset]'"
        ) from error
    return webdataset


def _base_and_pattern(url: str) -> tuple[str, str]:
    """The folder above the first wildcard or brace, and the rest.

    Example:
        >>> _base_and_pattern("s3://bucket/train/{000..009}.tar")
        ('s3://bucket/train', '{000..009}.tar')
    """
    head = re.split(r"[*?{\[]", url, maxsplit=1)[0]
    if head == url and not url.endswith(".tar"):
        return url, "*.tar"
    base = head.rpartition("/")[0]
    if not base and not head.startswith("/"):
        return ".", url
    if not base or base.endswith(":/"):
        base += "/"
    return base, url.removeprefix(base).lstrip("/")


def _shards(config: DatasetConfig) -> tuple[DataRoot, list[str]]:
    base, pattern = _base_and_pattern(expand(config.root)) if config.root else ("", "")
    root = open_root(base)
    prefix = root.path.rstrip("/")
    shards: list[str] = []
    for name in _library().shardlists.expand_urls(pattern):
        if re.search(r"[*?\[]", name):
            found = sorted(root.filesystem.glob(f"{prefix}/{name}"))
            shards.extend(path[len(prefix) + 1 :] for path in found)
        else:
            shards.append(name)
    if not shards:
        raise DatasetError(
            f"dataset.root {config.root}: no shard matches '{pattern}' in {root.url}"
        )
    return root, shards


def _index(root: DataRoot, shard: str, config: DatasetConfig) -> list[_ShardSample]:
    samples: dict[str, _ShardSample] = {}
    address = root.address(shard)
    try:
        with (
            root.filesystem.open(root.locate(shard), "rb") as stream,
            tarfile.open(fileobj=stream, mode="r:") as archive,
        ):
            for member in archive:
                _add(samples, archive, member, shard, address)
            stream.seek(archive.offset)
            if stream.read(_BLOCK).strip(b"\0"):
                raise tarfile.ReadError(f"no valid header at byte {archive.offset}")
    except (OSError, tarfile.TarError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise DatasetError(
            f"shard {address} cannot be read: {why}. Shards are uncompressed tar files; write it "
            "again, or unpack a compressed one."
        ) from error
    for sample in samples.values():
        if sample.label is None and config.label_column is not None:
            sample.label = sample.annotations.get(config.label_column)
    return list(samples.values())


def _add(
    samples: dict[str, _ShardSample],
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    shard: str,
    address: str,
) -> None:
    if not member.isfile() or member.issparse():
        return
    name = relative_path(member.name, f"member '{member.name}' of {address}")
    key, suffix = _library().tariterators.base_plus_ext(name)
    if not key or key.endswith("/") or not suffix:
        return
    suffix = suffix.lower()
    sample = samples.setdefault(key, _ShardSample(key, shard))
    if suffix in sample.members:
        raise DatasetError(f"{address}: sample '{key}' has two files '.{suffix}'; keys are unique")
    sample.members[suffix] = (name, member.offset_data, member.size)
    if suffix in ("cls", "json"):
        stream = archive.extractfile(member)
        _annotate(sample, suffix, b"" if stream is None else stream.read(), f"{address}:{name}")


def _signal_suffixes(config: DatasetConfig) -> frozenset[str]:
    """Suffixes of the signal: several may be given as "jpg;png"; by default any image or .npy."""
    if config.signal_key == DatasetConfig.model_fields["signal_key"].default:
        return _ANY_SIGNAL
    return frozenset(name.strip(". ").lower() for name in config.signal_key.split(";"))


def _source(sample: _ShardSample, suffixes: frozenset[str]) -> str:
    found = [suffix for suffix in sample.members if suffix in suffixes]
    if len(found) > 1:
        raise DatasetError(
            f"shard {sample.shard}: sample '{sample.key}' has several signal files, "
            f"{', '.join(found)}; name one suffix as dataset.signal_key"
        )
    if not found:
        return f"{sample.shard}:{sample.key}"
    name, offset, size = sample.members[found[0]]
    return f"{sample.shard}@{offset}+{size}:{name}"


def _single_values(sample: _ShardSample) -> dict[str, object]:
    return {
        name: value
        for name, value in sample.annotations.items()
        if isinstance(value, (str, int, float))
    }


def _annotate(sample: _ShardSample, suffix: str, content: bytes, place: str) -> None:
    try:
        if suffix == "cls":
            sample.label = content.decode().strip()
            return
        annotations = json.loads(content)
    except ValueError as error:
        raise DatasetError(f"{place}: expected {suffix} text, got {error}") from error
    if isinstance(annotations, dict):
        sample.annotations = annotations
