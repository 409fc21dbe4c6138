"""Public datasets from their official homes, checked, in the layout our configurations read."""

from tasks.downloads.errors import DownloadError as DownloadError
from tasks.downloads.placement import Placed as Placed
from tasks.downloads.placement import place_datasets as place_datasets
from tasks.downloads.registry import DATASETS as DATASETS
from tasks.downloads.registry import GROUPS as GROUPS
from tasks.downloads.registry import Dataset as Dataset
from tasks.downloads.transfer import Advance as Advance

__all__ = [
    "DATASETS",
    "GROUPS",
    "Advance",
    "Dataset",
    "DownloadError",
    "Placed",
    "place_datasets",
]
