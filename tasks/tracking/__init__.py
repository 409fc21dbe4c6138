"""Publication of an audit to MLflow: one run per audit, found again by the tag `audit.id`.

This package is the only place that imports mlflow, and it does so inside functions. The audit
folder stays the truth: everything here can be repeated from it, and a lost MLflow loses nothing.
"""

from tasks.tracking.connection import TrackingError
from tasks.tracking.locations import artifact_root, resolve_tracking_uri, without_password
from tasks.tracking.metrics import LoggedMetrics, MetricPoint, plan_metrics
from tasks.tracking.publication import Publication, PublishedRun
from tasks.tracking.publishing import add_files, publish
from tasks.tracking.runs import find_run, tracked_run

__all__ = [
    "LoggedMetrics",
    "MetricPoint",
    "Publication",
    "PublishedRun",
    "TrackingError",
    "add_files",
    "artifact_root",
    "find_run",
    "plan_metrics",
    "publish",
    "resolve_tracking_uri",
    "tracked_run",
    "without_password",
]
