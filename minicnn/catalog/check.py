"""`minicnn gradcheck`: the gradient of an operation, checked on several configurations."""

from __future__ import annotations

import sys
from typing import NamedTuple

from ..autograd.gradcheck import GradcheckError, gradcheck_error
from ..autograd.gradgradcheck import gradgradcheck
from .case import Op
from .facts import facts


class Row(NamedTuple):
    """What a check found: `error` is the worst slope's, relative to the gradient."""

    name: str
    configurations: int
    error: float
    verdict: str
    message: str = ""

    @property
    def right(self) -> bool:
        """Whether every configuration passed."""
        return not self.message


def check(op: Op, configurations: int = 5, second: bool = True) -> Row:
    """Checks first derivatives, and second ones where the op has them, in float64.

    The first configuration that fails ends the check; the row's message names it.
    """
    if not op.gradient:
        return Row(op.name, 0, 0.0, "no gradient")
    minicnn = sys.modules["minicnn"]
    worst, twice = 0.0, second and facts(op).second
    for number in range(configurations):
        case = op.case(number)

        def fn(*tensors, case=case):
            return case.run(minicnn, list(tensors))

        inputs = case.tensors(minicnn)
        try:
            worst = max(worst, gradcheck_error(fn, inputs, directions=1, seed=number))
            if twice:
                gradgradcheck(fn, inputs, directions=1, seed=number)
        except GradcheckError as error:
            message = f"{op.name}, configuration {number}: {case}\n{error}"
            return Row(op.name, number + 1, worst, "WRONG", message)
    return Row(op.name, configurations, worst, "right, twice" if twice else "right")
