"""Prefect flows and the `wam-audit` command line: the recipe of an audit, no arithmetic."""
