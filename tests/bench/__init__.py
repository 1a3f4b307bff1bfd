"""Benchmarks: `python -m tests.bench`. Nothing here is a test, and nothing passes or fails."""
