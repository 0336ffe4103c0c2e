"""What there is to see on a GPU, in one command: `python -m benchmarks.gpu` (see __main__.py)."""
