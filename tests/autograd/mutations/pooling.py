"""Wrong backwards of max, average, adaptive, power-average, stochastic pooling and unpooling."""

import numpy as np

from minicnn.autograd import Function
from minicnn.backend import PoolGeometry, cpu

COVERS = ("pool", "adaptive_pool", "lp_pool", "stochastic_pool", "unpool")


POOL = PoolGeometry.of((2, 2, 5, 5), 3, stride=2, padding=1)


class MaxPool(Function):
    shapes = ((2, 2, 5, 5),)

    def forward(self, x):
        y, indices = cpu.max_pool_forward(x, POOL)
        self.save(indices)
        return y

    def backward(self, grad_y):
        return cpu.max_pool_backward(grad_y, self.saved[0], (2, 2, 5, 5))


class MaxPoolLosesOverlap(MaxPool):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 2, 25))
        np.put_along_axis(grad_x, self.saved[0].reshape(2, 2, -1), grad_y.reshape(2, 2, -1), 2)
        return grad_x.reshape(2, 2, 5, 5)


class MaxPoolFirstElement(MaxPool):
    def backward(self, grad_y):
        return cpu.max_pool_backward(grad_y, self.saved[0] * 0, (2, 2, 5, 5))


class AvgPool(Function):
    shapes = ((2, 2, 5, 5),)

    def forward(self, x):
        return cpu.avg_pool_forward(x, POOL, count_include_pad=False)

    def backward(self, grad_y):
        return cpu.avg_pool_backward(grad_y, (2, 2, 5, 5), POOL, count_include_pad=False)


class AvgPoolCountsPadding(AvgPool):
    def backward(self, grad_y):
        return cpu.avg_pool_backward(grad_y, (2, 2, 5, 5), POOL, count_include_pad=True)


class AvgPoolWindowOfOne(AvgPool):
    """The gradient to the window's first element in place of all."""

    def backward(self, grad_y):
        grad_x = np.zeros((2, 2, 7, 7))
        grad_x[:, :, 1:7:2, 1:7:2] = grad_y
        return grad_x[:, :, 1:6, 1:6]


class MaxPool1d(Function):
    """Windows of 2 with dilation 2: elements i and i + 2."""

    shapes = ((2, 6),)
    distinct = True

    def forward(self, x):
        self.save(x)
        return np.maximum(x[:, :4], x[:, 2:])

    def backward(self, grad_y):
        (x,) = self.saved
        first = x[:, :4] > x[:, 2:]
        grad_x = np.zeros_like(x)
        grad_x[:, :4] += grad_y * first
        grad_x[:, 2:] += grad_y * ~first
        return grad_x


class MaxPool1dForgetsTheDilation(MaxPool1d):
    """The index within the window, added without its dilation."""

    def backward(self, grad_y):
        (x,) = self.saved
        first = x[:, :4] > x[:, 2:]
        grad_x = np.zeros_like(x)
        grad_x[:, :4] += grad_y * first
        grad_x[:, 1:5] += grad_y * ~first
        return grad_x


class MaxPool1dSpreadOverTheWindow(MaxPool1d):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 6))
        grad_x[:, :4] += grad_y / 2
        grad_x[:, 2:] += grad_y / 2
        return grad_x


class AvgPool3d(Function):
    """Windows of 2 with ceil_mode: of 3 elements the last window has one."""

    shapes = ((3, 3, 3),)

    def forward(self, x):
        return self.sums(x) / self.counts()

    def sums(self, x):
        padded = np.pad(x, [(0, 1)] * 3)
        return padded.reshape(2, 2, 2, 2, 2, 2).sum((1, 3, 5))

    def counts(self):
        return self.sums(np.ones((3, 3, 3)))

    def backward(self, grad_y):
        return self.spread(grad_y / self.counts())

    def spread(self, g):
        return np.kron(g, np.ones((2, 2, 2)))[:3, :3, :3]


class AvgPool3dAlwaysEight(AvgPool3d):
    """Windows that reach over the end counted as full."""

    def backward(self, grad_y):
        return self.spread(grad_y / 8)


class AvgPool3dRepeatedInAnotherOrder(AvgPool3d):
    def spread(self, g):
        return np.tile(g, (2, 2, 2))[:3, :3, :3]


ROWS = ((0, 2), (1, 4), (3, 5))  # what adaptive pooling of 5 to 3 reads: windows of 2, 3 and 2


class AdaptiveAvgPool(Function):
    shapes = ((2, 5),)

    def forward(self, x):
        return np.stack([x[:, a:b].mean(1) for a, b in ROWS], axis=1)

    def backward(self, grad_y):
        grad_x = np.zeros((2, 5))
        for i, (a, b) in enumerate(ROWS):
            grad_x[:, a:b] += grad_y[:, i, None] / (b - a)
        return grad_x


class AdaptiveAvgPoolEqualWindows(AdaptiveAvgPool):
    """5 / 3 for every window's size."""

    def backward(self, grad_y):
        grad_x = np.zeros((2, 5))
        for i, (a, b) in enumerate(ROWS):
            grad_x[:, a:b] += grad_y[:, i, None] * 3 / 5
        return grad_x


class AdaptiveAvgPoolLosesOverlap(AdaptiveAvgPool):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 5))
        for i, (a, b) in enumerate(ROWS):
            grad_x[:, a:b] = grad_y[:, i, None] / (b - a)
        return grad_x


class AdaptiveMaxPool(Function):
    shapes = ((2, 5),)
    distinct = True

    def forward(self, x):
        self.at = np.stack([a + x[:, a:b].argmax(1) for a, b in ROWS], axis=1)
        return np.take_along_axis(x, self.at, 1)

    def backward(self, grad_y):
        grad_x = np.zeros((2, 5))
        np.add.at(grad_x, (np.arange(2)[:, None], self.at), grad_y)
        return grad_x


class AdaptiveMaxPoolIndexWithinTheWindow(AdaptiveMaxPool):
    """The window's start left out of the index."""

    def backward(self, grad_y):
        self.at = self.at - [a for a, _ in ROWS]
        return super().backward(grad_y)


class LpPool(Function):
    """y = (sum of |x|^3 over the window)^(1/3), windows of 3 with stride 2."""

    shapes = ((2, 7),)

    def forward(self, x):
        self.y = sum(np.abs(x[:, k : k + 5 : 2]) ** 3 for k in range(3)) ** (1 / 3)
        self.save(x)
        return self.y

    def backward(self, grad_y):
        return self.spread(grad_y * self.y**-2) * self.slope(self.saved[0])

    def slope(self, x):
        return x**2 * np.sign(x)

    def spread(self, g):
        grad_x = np.zeros((2, 7))
        for k in range(3):
            grad_x[:, k : k + 5 : 2] += g
        return grad_x


class LpPoolWithoutTheRoot(LpPool):
    def backward(self, grad_y):
        return self.spread(grad_y) * self.slope(self.saved[0])


class LpPoolWithoutTheSign(LpPool):
    """|x| taken for x: right for even powers alone."""

    def slope(self, x):
        return x**2


class LpPoolAsAMean(LpPool):
    def spread(self, g):
        return super().spread(g) / 3


class MaxUnpool(Function):
    """y[n, at[n,i]] = x[n,i], zero elsewhere."""

    shapes = ((2, 3),)
    at = np.array([[0, 3, 5], [4, 1, 2]])

    def forward(self, x):
        y = np.zeros((2, 6))
        np.put_along_axis(y, self.at, x, 1)
        return y

    def backward(self, grad_y):
        return np.take_along_axis(grad_y, self.at, 1)


class MaxUnpoolTakesEverySecond(MaxUnpool):
    def backward(self, grad_y):
        return grad_y[:, ::2]


class MaxUnpoolSortsItsIndices(MaxUnpool):
    def backward(self, grad_y):
        return np.take_along_axis(grad_y, np.sort(self.at, 1), 1)


class StochasticPool(Function):
    """In evaluation: y = sum of p x over the window, with the probabilities p = x / sum of x."""

    shapes = ((3, 4),)
    positive = True

    def forward(self, x):
        self.save(x)
        return (x * x).sum(1) / x.sum(1)

    def backward(self, grad_y):
        (x,) = self.saved
        total = x.sum(1, keepdims=True)
        y = (x * x).sum(1, keepdims=True) / total
        return grad_y[:, None] * (2 * x - y) / total


class StochasticPoolConstantProbabilities(StochasticPool):
    """The weights depend on x as well."""

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y[:, None] * x / x.sum(1, keepdims=True)


class StochasticPoolSampled(Function):
    """In training: the element that was drawn."""

    shapes = ((3, 4),)
    drawn = np.array([2, 0, 3])

    def forward(self, x):
        return x[np.arange(3), self.drawn]

    def backward(self, grad_y):
        grad_x = np.zeros((3, 4))
        grad_x[np.arange(3), self.drawn] = grad_y
        return grad_x


class StochasticPoolDrawsAgain(StochasticPoolSampled):
    """Another sample in the backward."""

    def backward(self, grad_y):
        grad_x = np.zeros((3, 4))
        grad_x[np.arange(3), [1, 1, 3]] = grad_y
        return grad_x


class StochasticPoolInExpectation(StochasticPoolSampled):
    """The gradient spread by the probabilities, where the forward took one element."""

    def backward(self, grad_y):
        return np.repeat(grad_y[:, None], 4, 1) / 4
