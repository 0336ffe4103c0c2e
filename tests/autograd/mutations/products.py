"""Wrong backwards of linear layers and matrix products."""

import numpy as np

from minicnn.autograd import Function

COVERS = ("linear",)


class MatMul(Function):
    shapes = ((3, 3), (3, 3))

    def forward(self, a, b):
        self.save(a, b)
        return a @ b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ b.T, a.T @ grad_y


class MatMulUntransposed(MatMul):
    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ b, a @ grad_y


class MatMulFactorsSwapped(MatMul):
    """The right transposes in the wrong order."""

    def backward(self, grad_y):
        a, b = self.saved
        return b.T @ grad_y, grad_y @ a.T


class Linear(Function):
    """y = x w^T + b, with as many features in as out."""

    shapes = ((4, 3), (3, 3), (3,))

    def forward(self, x, w, b):
        self.save(x, w)
        return x @ w.T + b

    def backward(self, grad_y):
        x, w = self.saved
        return grad_y @ w, grad_y.T @ x, grad_y.sum(0)


class LinearWeightTransposed(Linear):
    def backward(self, grad_y):
        grad_x, grad_w, grad_b = super().backward(grad_y)
        return grad_x, grad_w.T, grad_b


class LinearInputByTheTranspose(Linear):
    def backward(self, grad_y):
        _, w = self.saved
        return grad_y @ w.T, *super().backward(grad_y)[1:]


class LinearBiasIsAMean(Linear):
    def backward(self, grad_y):
        return *super().backward(grad_y)[:2], grad_y.mean(0)


class LinearMeanOverTheBatch(Linear):
    """1/N belongs to the loss."""

    def backward(self, grad_y):
        grad_x, grad_w, grad_b = super().backward(grad_y)
        return grad_x, grad_w / 4, grad_b


class Bmm(Function):
    shapes = ((2, 3, 4), (2, 4, 3))

    def forward(self, a, b):
        self.save(a, b)
        return a @ b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ b.swapaxes(1, 2), a.swapaxes(1, 2) @ grad_y


class BmmOfAnotherSample(Bmm):
    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ b[::-1].swapaxes(1, 2), a.swapaxes(1, 2) @ grad_y


class BmmBroadcast(Function):
    """(2, 3, 4) times (4, 3): the second factor is used for every sample."""

    shapes = ((2, 3, 4), (4, 3))

    def forward(self, a, b):
        self.save(a, b)
        return a @ b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ b.T, (a.swapaxes(1, 2) @ grad_y).sum(0)


class BmmBroadcastFirstSampleAlone(BmmBroadcast):
    def backward(self, grad_y):
        a, _ = self.saved
        return super().backward(grad_y)[0], a[0].T @ grad_y[0]


class Outer(Function):
    shapes = ((3,), (3,))

    def forward(self, a, b):
        self.save(a, b)
        return np.outer(a, b)

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ b, a @ grad_y


class OuterSwapped(Outer):
    def backward(self, grad_y):
        a, b = self.saved
        return b @ grad_y, grad_y @ a


class Quadratic(Function):
    """y = x^T m x: x stands twice in it."""

    shapes = ((3,), (3, 3))

    def forward(self, x, m):
        self.save(x, m)
        return x @ m @ x

    def backward(self, grad_y):
        x, m = self.saved
        return grad_y * (m + m.T) @ x, grad_y * np.outer(x, x)


class QuadraticOnce(Quadratic):
    """2 m x is right for a symmetric m alone."""

    def backward(self, grad_y):
        x, m = self.saved
        return grad_y * 2 * m @ x, grad_y * np.outer(x, x)
