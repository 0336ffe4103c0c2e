"""Wrong backwards of pooling with two and three axes, over the primitives of backend."""

import numpy as np

from minicnn.autograd import Function
from minicnn.backend import PoolGeometry, cpu
from minicnn.backend.geometry import adaptive_windows

COVERS = ()

POOL = PoolGeometry.of((2, 2, 5, 5), 3, stride=2, padding=1)


class AvgPool(Function):
    shapes = ((2, 2, 5, 5),)

    def forward(self, x):
        return cpu.avg_pool_forward(x, POOL, count_include_pad=False)

    def backward(self, grad_y):
        return cpu.avg_pool_backward(grad_y, (2, 2, 5, 5), POOL, count_include_pad=False)


class AvgPoolLosesOverlap(AvgPool):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 2, 5, 5))
        for i, j in np.ndindex(3, 3):
            rows, columns = slice(max(0, 2 * i - 1), 2 * i + 2), slice(max(0, 2 * j - 1), 2 * j + 2)
            window = grad_x[:, :, rows, columns]
            window[...] = grad_y[:, :, i : i + 1, j : j + 1] / (window.shape[2] * window.shape[3])
        return grad_x


VOLUME = PoolGeometry.of((2, 1, 3, 4, 2), 2, 1, function="max_pool3d")


class MaxPool3d(Function):
    shapes = ((2, 1, 3, 4, 2),)

    def forward(self, x):
        y, indices = cpu.max_pool_forward(x, VOLUME)
        self.save(indices)
        return y

    def backward(self, grad_y):
        return cpu.max_pool_backward(grad_y, self.saved[0], (2, 1, 3, 4, 2))


class MaxPool3dExchangesAxes(MaxPool3d):
    def backward(self, grad_y):
        """Takes (d*H + h)*W + k for (d*W + k)*H + h."""
        d, h, k = np.unravel_index(self.saved[0], (3, 4, 2))
        return cpu.max_pool_backward(grad_y, (d * 2 + k) * 4 + h, (2, 1, 3, 4, 2))


class AdaptiveAvgPool(Function):
    shapes = ((2, 2, 5, 4),)

    def forward(self, x):
        return cpu.adaptive_avg_pool_forward(x, (3, 3))

    def backward(self, grad_y):
        return cpu.adaptive_avg_pool_backward(grad_y, (2, 2, 5, 4))


class AdaptiveAvgPoolOneDivisor(AdaptiveAvgPool):
    def backward(self, grad_y):
        """As if every window had H*W / (OH*OW) pixels."""
        sizes = np.array([2, 3, 2])[:, None] * np.array([2, 2, 2])
        return super().backward(grad_y * sizes / (5 * 4 / 9))


class AdaptiveAvgPoolSharedRowsOnce(AdaptiveAvgPool):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 2, 5, 4))
        for i, j in np.ndindex(3, 3):
            rows = slice(*adaptive_windows(5, 3)[i])
            columns = slice(*adaptive_windows(4, 3)[j])
            window = grad_x[:, :, rows, columns]
            window[...] = grad_y[:, :, i : i + 1, j : j + 1] / (window.shape[2] * window.shape[3])
        return grad_x


HANGING = PoolGeometry.of((2, 1, 6), 3, 2, ceil_mode=True, function="lp_pool1d")


class LpPool(Function):
    """y = (3 * mean of x^4)^(1/4); the last window has two values."""

    shapes = ((2, 1, 6),)

    def forward(self, x):
        s = cpu.avg_pool_forward(x**4, HANGING) * 3
        self.save(x, s)
        return s**0.25

    def backward(self, grad_y):
        x, s = self.saved
        return x**3 * self.spread(3 * s**-0.75 * grad_y)

    def spread(self, g):
        return cpu.avg_pool_backward(g, (2, 1, 6), HANGING)


class LpPoolOfAbsoluteValues(LpPool):
    def backward(self, grad_y):
        return np.abs(super().backward(grad_y))


class LpPoolForgetsWhatHangsOver(LpPool):
    def spread(self, g):
        return cpu.avg_pool_backward(g, (2, 1, 6), HANGING, True, 3)


class LpPoolForgetsTheRoot(LpPool):
    def backward(self, grad_y):
        x, _ = self.saved
        return x**3 * self.spread(3 * grad_y)


PLACES = np.array([[[0, 5, 5, 3]], [[1, 1, 1, 0]]])


class MaxUnpool(Function):
    shapes = ((2, 1, 4),)

    def forward(self, x):
        return cpu.max_unpool_forward(x, PLACES, (6,))

    def backward(self, grad_y):
        return cpu.max_unpool_backward(grad_y, PLACES)


class MaxUnpoolGradientForWhatWasWrittenOver(MaxUnpool):
    def backward(self, grad_y):
        return cpu.max_pool_gather(grad_y, PLACES)


class StochasticPoolMean(Function):
    """y = q / s: the sum of squares by the sum."""

    shapes = ((2, 2, 5, 5),)
    positive = True

    def forward(self, x):
        s, q = (cpu.avg_pool_forward(v, POOL, True, 1) for v in (x, x * x))
        self.save(x, s, q / s)
        return q / s

    def backward(self, grad_y):
        x, s, y = self.saved
        return 2 * x * self.spread(grad_y / s) - self.spread(y * grad_y / s)

    def spread(self, g):
        return cpu.avg_pool_backward(g, (2, 2, 5, 5), POOL, True, 1)


class StochasticPoolMeanFixedProbabilities(StochasticPoolMean):
    def backward(self, grad_y):
        x, s, _ = self.saved
        return x * self.spread(grad_y / s)


class StochasticPoolMeanFixedSum(StochasticPoolMean):
    def backward(self, grad_y):
        x, s, _ = self.saved
        return 2 * x * self.spread(grad_y / s)


class StochasticPool(Function):
    shapes = ((2, 2, 5, 5),)
    positive = True

    def forward(self, x):
        u = np.random.default_rng(0).random((2, 2, 3, 3))
        y, indices = cpu.stochastic_pool_forward(x, u, POOL)
        self.save(x, indices)
        return y

    def backward(self, grad_y):
        return cpu.max_pool_backward(grad_y, self.saved[1], (2, 2, 5, 5))


class StochasticPoolGradientToTheLargest(StochasticPool):
    def backward(self, grad_y):
        _, indices = cpu.max_pool_forward(self.saved[0], POOL)
        return cpu.max_pool_backward(grad_y, indices, (2, 2, 5, 5))
