"""Backwards whose formula is right, or nearly, and that fail all the same: on a second run, for one
output of two, in another memory order, in float32, or at a size where tolerances hide it.
"""

import numpy as np

from minicnn.autograd import Function

COVERS = ()


class Square(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.save(x)
        return x * x

    def backward(self, grad_y):
        return 2 * self.saved[0] * grad_y


class SquareInSinglePrecision(Square):
    """Right to seven digits."""

    def backward(self, grad_y):
        x, g = self.saved[0].astype(np.float32), grad_y.astype(np.float32)
        return (2 * x * g).astype(np.float64)


class SquareInMemoryOrder(Square):
    """The elements as they lie in memory, which is not always row by row."""

    def backward(self, grad_y):
        return 2 * self.saved[0].ravel(order="K").reshape(3, 4) * grad_y


class SquareIntoACopy(Square):
    """`reshape` gives a view of a contiguous array, and a copy of others."""

    def backward(self, grad_y):
        grad_x = np.zeros_like(grad_y)
        grad_x.reshape(-1)[:] = (2 * self.saved[0] * grad_y).reshape(-1)
        return grad_x


BUFFER = np.zeros((3, 4))


class SquareInOneBuffer(Square):
    """What the last backward returned is written over by the next."""

    def backward(self, grad_y):
        return np.multiply(2 * self.saved[0], grad_y, out=BUFFER)


class SquareWithAnOffset(Square):
    """Below atol, and not linear in grad_y."""

    def backward(self, grad_y):
        return super().backward(grad_y) + 1e-8


class Relu(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.mask = (x > 0) * 1.0
        return x * self.mask

    def backward(self, grad_y):
        return grad_y * self.mask


class ReluSpoilsItsMask(Relu):
    """Right once; with retain_graph, wrong from the second time on."""

    def backward(self, grad_y):
        self.mask *= grad_y
        return self.mask.copy()


class TwoOutputs(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.save(x)
        return 2 * x, x * x

    def backward(self, grad_a, grad_b):
        return 2 * grad_a + 2 * self.saved[0] * grad_b


class TwoOutputsOrNone(TwoOutputs):
    """An early return that looks at one of the gradients."""

    def backward(self, grad_a, grad_b):
        return super().backward(grad_a, grad_b) if grad_b.any() else grad_b


class Small(Function):
    """All gradients are smaller than atol."""

    shapes = ((3, 4),)

    def forward(self, x):
        return x * 1e-8

    def backward(self, grad_y):
        return grad_y * 1e-8


class SmallTwice(Small):
    def backward(self, grad_y):
        return grad_y * 2e-8


class SmallForgotten(Small):
    def backward(self, grad_y):
        return grad_y * 0
