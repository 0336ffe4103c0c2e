"""How fast minicnn trains on a CPU, beside its rivals: `python -m benchmarks.cpu`."""
