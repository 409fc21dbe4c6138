"""The published table as a run: audits of several models, and one table of all methods."""

from tasks.benchmark.config import BenchmarkedAudit, load_benchmark
from tasks.benchmark.table import BenchmarkTable, table_of

__all__ = ["BenchmarkTable", "BenchmarkedAudit", "load_benchmark", "table_of"]
