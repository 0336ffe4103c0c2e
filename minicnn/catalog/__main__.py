"""Prints the reference table."""

from . import reference_table

print(reference_table(), end="")
