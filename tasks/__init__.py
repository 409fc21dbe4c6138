"""Side effects of an audit, one per module: data, models, store, tables, tracking, reports."""
