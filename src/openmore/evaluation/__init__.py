"""Metrics, protocols and suites: predict, cache, measure, report."""
