"""Benchmarks: ratios measured in one interleaved run, never figures to compare between machines."""
