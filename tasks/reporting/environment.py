"""The templates of the report."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from tasks.reporting.formatting import percent, shortened, whole
from tasks.reporting.wording import method_title


@cache
def environment() -> Environment:
    """Everything a dataset can put into a page is escaped; an undefined name is an error."""
    templates = Environment(
        loader=PackageLoader("tasks.reporting", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters.update(
        shortened=shortened, whole=whole, percent=percent, method_title=method_title
    )
    return templates
