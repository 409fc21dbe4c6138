"""The datasets that can be downloaded: where they live, what they must be, under which terms.

Every checksum here was published by somebody; `checksum_source` says by whom.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.downloads.layouts import arrange_esc10, arrange_esc50, arrange_imagenette


@dataclass(frozen=True)
class RemoteFile:
    """A file at its official home.

    Attributes:
        name: Under which it is kept while it is on its way; the name of a dataset of one file.
        checksum: Algorithm and hexadecimal digest, `md5:…` or `sha256:…`.
        checksum_source: Who published the checksum.
        size: Bytes; None where nobody states it.
        reproducible: Whether the server stores the file. GitHub packs archives when they are asked
            for: their bytes may change while the content stays, and then the content decides.
    """

    name: str
    url: str
    checksum: str
    checksum_source: str
    size: int | None = None
    reproducible: bool = True


@dataclass(frozen=True)
class Content:
    """What an archive must hold, whatever its own bytes are.

    Attributes:
        pattern: Which files are checked, below the archive's top folder.
        checksum: SHA-256 in hexadecimal over one line `<md5>  <path>` per file, ordered by path:
            the output of `md5sum` in that folder.
        source: Who published the files' checksums.
    """

    pattern: str
    checksum: str
    source: str


@dataclass(frozen=True)
class Dataset:
    """A dataset as it is offered, and how it comes to lie in its place.

    Attributes:
        place: Path below the data folder: a folder, or the file itself.
        holds: What is in it, in a few words.
        arrange: Builds the dataset's folder (second argument) from the archive's top folder
            (first argument); None if the file is used as it is.
        content: For archives that are not reproducible.
        unpacked_size: Bytes of its arrays, an upper bound where the file's size is not stated.
    """

    name: str
    title: str
    file: RemoteFile
    place: str
    holds: str
    licence: str
    citation: str
    homepage: str
    arrange: Callable[[Path, Path], None] | None = None
    content: Content | None = None
    unpacked_size: int | None = None


_ESC_COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"  # one commit: its content is fixed
_ESC_ARCHIVE = RemoteFile(
    name=f"ESC-50-{_ESC_COMMIT[:8]}.zip",
    url=f"https://github.com/karolpiczak/ESC-50/archive/{_ESC_COMMIT}.zip",
    checksum="sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
    checksum_source="projects that pin this commit (the publisher states no checksum)",
    size=645_832_161,
    reproducible=False,
)
_ESC_CONTENT = Content(
    pattern="audio/*.wav",
    checksum="6a96522abaf1cd3fc0cbbf1791b59d7214cb2895c0195cacb642663458e1d22b",
    source="soundata (esc50_index.json, version 2.0.0: an MD5 per clip)",
)
_ESC_CITATION = (
    "K. J. Piczak. ESC: Dataset for Environmental Sound Classification. Proceedings of the 23rd "
    "ACM International Conference on Multimedia, 2015, 1015-1018. doi:10.1145/2733373.2806390"
)
_ESC_HOME = "https://github.com/karolpiczak/ESC-50"

_MEDMNIST_CITATION = (
    "J. Yang, R. Shi, D. Wei, Z. Liu, L. Zhao, B. Ke, H. Pfister, B. Ni. MedMNIST v2 - A "
    "large-scale lightweight benchmark for 2D and 3D biomedical image classification. Scientific "
    "Data 10, 41, 2023. doi:10.1038/s41597-022-01721-8; and the source of the subset, named on "
    "https://medmnist.com"
)

_IMAGENETTE_CITATION = (
    "J. Howard. Imagenette. https://github.com/fastai/imagenette; O. Russakovsky et al. ImageNet "
    "Large Scale Visual Recognition Challenge. International Journal of Computer Vision 115, 2015. "
    "doi:10.1007/s11263-015-0816-y"
)


def _medmnist(name: str, title: str, md5: str, splits: tuple[int, int, int]) -> Dataset:
    """A 64-voxel member of MedMNIST+; splits are train, val and test."""
    train, val, test = splits
    return Dataset(
        name=name,
        title=f"{title} (MedMNIST v2, 64 x 64 x 64)",
        file=RemoteFile(
            name=f"{name}_64.npz",
            url=f"https://zenodo.org/records/10519652/files/{name}_64.npz?download=1",
            checksum=f"md5:{md5}",
            checksum_source="MedMNIST (package medmnist 3.0.2)",
        ),
        place=f"{name}_64.npz",
        holds=f"{sum(splits)} volumes: train {train}, val {val}, test {test}",
        licence="CC BY 4.0",
        citation=_MEDMNIST_CITATION,
        homepage="https://zenodo.org/records/10519652",
        unpacked_size=sum(splits) * 64**3,
    )


def _imagenette(name: str, pixels: int, sha256: str, size: int) -> Dataset:
    return Dataset(
        name=name,
        title=f"Imagenette 2, shorter side {pixels} pixels",
        file=RemoteFile(
            name=f"imagenette2-{pixels}.tgz",
            url=f"https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-{pixels}.tgz",
            checksum=f"sha256:{sha256}",
            checksum_source="TensorFlow Datasets (imagenette/checksums.tsv)",
            size=size,
        ),
        place=f"imagenette2-{pixels}",
        holds="photographs of ten ImageNet classes in the splits train and val",
        licence=(
            "Apache 2.0 (fast.ai's selection); the images keep ImageNet's terms: non-commercial "
            "research, rights with their owners"
        ),
        citation=_IMAGENETTE_CITATION,
        homepage="https://github.com/fastai/imagenette",
        arrange=arrange_imagenette,
    )


def _by_name(*datasets: Dataset) -> dict[str, Dataset]:
    return {dataset.name: dataset for dataset in datasets}


DATASETS: Mapping[str, Dataset] = _by_name(
    Dataset(
        name="esc10",
        title="ESC-10, the ten classes of ESC-50 under a freer licence",
        file=_ESC_ARCHIVE,
        place="esc10",
        holds="400 sounds of 5 s (WAV, 44.1 kHz, mono), 10 classes, 5 folds",
        licence="CC BY 3.0; single clips CC0, CC BY or CC Sampling+, each named in LICENSE",
        citation=_ESC_CITATION,
        homepage=_ESC_HOME,
        arrange=arrange_esc10,
        content=_ESC_CONTENT,
    ),
    Dataset(
        name="esc50",
        title="ESC-50, environmental sounds",
        file=_ESC_ARCHIVE,
        place="esc50",
        holds="2000 sounds of 5 s (WAV, 44.1 kHz, mono), 50 classes, 5 folds",
        licence="CC BY-NC 3.0 (non-commercial); single clips as named in LICENSE",
        citation=_ESC_CITATION,
        homepage=_ESC_HOME,
        arrange=arrange_esc50,
        content=_ESC_CONTENT,
    ),
    _medmnist(
        "adrenalmnist3d", "adrenal glands", "17721accfe9fb005146a47d33bc54b2f", (1188, 98, 298)
    ),
    _medmnist(
        "fracturemnist3d", "rib fractures", "f01d7e6316aedf4210da0da5b7437b42", (1027, 103, 240)
    ),
    _medmnist(
        "nodulemnist3d", "lung nodules", "c47c5b7d457bf6332200d2ea6d64ecd8", (1158, 165, 310)
    ),
    _medmnist("organmnist3d", "organs", "58a2205adf14a9d0a189cb06dc78bf10", (971, 161, 610)),
    _medmnist("synapsemnist3d", "synapses", "43bd14ebf3af9d3dd072446fedc14d5e", (1230, 177, 352)),
    _medmnist(
        "vesselmnist3d", "brain vessels", "6bb274a8846e1097066dcd64e2c4520f", (1335, 191, 382)
    ),
    _imagenette(
        "imagenette",
        320,
        "569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c",
        341_663_724,
    ),
    _imagenette(
        "imagenette-160",
        160,
        "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5",
        99_003_388,
    ),
)

GROUPS: Mapping[str, tuple[str, ...]] = {
    "medmnist3d": tuple(name for name in DATASETS if name.endswith("mnist3d")),
}
