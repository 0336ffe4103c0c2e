"""A look inside networks."""

from .summary import LayerSummary, Summary, summary

__all__ = ["LayerSummary", "Summary", "summary"]
