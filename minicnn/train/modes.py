"""Evaluation without a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..autograd import no_grad


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """In the block `model` is in evaluation mode and no graph is recorded.

    Afterwards each module is in the mode it was in, also where some had been frozen by `.eval()`.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with no_grad():
            yield
    finally:
        for module, training in before:
            module.training = training
