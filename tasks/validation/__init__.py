"""Ground truth: audits whose results are known by construction."""
