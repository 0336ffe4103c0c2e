"""`minicnn gradcheck`: the gradient of an operation, checked on several configurations."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from functools import partial
from math import nan
from typing import Any, NamedTuple

from ..autograd.gradcheck import GradcheckError, gradcheck_error
from ..autograd.gradgradcheck import gradgradcheck_error
from .case import Case, Op
from .facts import CONFIGURATIONS, facts


class Row(NamedTuple):
    """What a check found: `error` is the worst slope's, relative to the gradient; NaN without."""

    name: str
    configurations: int
    error: float
    verdict: str
    message: str = ""

    @property
    def right(self) -> bool:
        """Whether every configuration passed."""
        return not self.message


def check(op: Op, configurations: int = CONFIGURATIONS, second: bool = True) -> Row:
    """Checks first derivatives, and second ones where the op has them, in float64.

    The first configuration that fails, or that raises an error, ends the check; the row's message
    names it.
    """
    if not op.gradient:
        return Row(op.name, 0, nan, "no gradient")
    once = _check(op, configurations, gradcheck_error, "first")
    if not (once.right and second and facts(op).second):
        return once
    twice = _check(op, configurations, gradgradcheck_error, "second")
    if not twice.right:
        return twice
    return once._replace(error=max(once.error, twice.error), verdict="right, twice")


def _check(op: Op, configurations: int, error_of: Callable[..., float], order: str) -> Row:
    """Checks the derivatives of one order."""
    minicnn = sys.modules["minicnn"]
    worst = 0.0
    for number in range(configurations):
        where = f"{op.name}, configuration {number}, {order} derivatives"
        try:
            case = op.case(number)
            run = partial(_run, case, minicnn)
            worst = max(worst, error_of(run, case.tensors(minicnn), directions=1, seed=number))
        except GradcheckError as failure:
            message = f"{where}: {case}\n{failure}"
            return Row(op.name, number + 1, failure.error, "WRONG", message)
        except Exception:  # the other operations are to be checked all the same
            message = f"{where}:\n{traceback.format_exc().rstrip()}"
            return Row(op.name, number + 1, nan, "ERROR", message)
    return Row(op.name, configurations, worst, "right")


def _run(case: Case, library: Any, *tensors: Any) -> Any:
    return case.run(library, list(tensors))
