"""Choosing thresholds, with a bound on the prose lost that holds for pages to come."""
