"""Datasets: any source becomes one manifest, and any row of it one signal or one status."""

from __future__ import annotations

from tasks.datasets.manifest import Manifest as Manifest
from tasks.datasets.manifest import build_manifest as build_manifest
from tasks.datasets.reader import SampleReader as SampleReader
from tasks.datasets.sample import LoadedSample as LoadedSample
from tasks.datasets.sample import SampleStatus as SampleStatus

__all__ = ["LoadedSample", "Manifest", "SampleReader", "SampleStatus", "build_manifest"]
