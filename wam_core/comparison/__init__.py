"""Statistics that compare two audits: paired, compositional, and drift with a null."""
