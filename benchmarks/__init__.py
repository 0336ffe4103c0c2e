"""Measurements, side by side with the rival in one run: `python -m benchmarks.NAME`."""
