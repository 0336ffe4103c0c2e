"""Every differentiable operation, with configurations to try it on.

One table serves the command `minicnn gradcheck`, the reference section of the README and the tests:
an operation that is not in it does not count as proved. Each file lists one family:

    @op(section="Max pooling")
    def max_pool2d(draw):
        kernel = draw.integer(1, 3)
        return Case("nn.functional.max_pool2d", draw.distinct(2, 2, 6, 5), kernel_size=kernel)

`draw` makes random choices from a seed, so that a configuration is named by the operation and a
number; `section` names the heading, or the Function, whose docstring derives the gradient.
"""

from .case import Case, Draw, Op, op, ops
from .check import Row, check
from .facts import Facts, facts
from .table import reference_table

__all__ = ["Case", "Draw", "Facts", "Op", "Row", "check", "facts", "op", "ops", "reference_table"]
