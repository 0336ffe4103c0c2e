"""A checker that never rejects is worth nothing: known-wrong backwards, every one to be caught.

Each family has a right form, which must pass, and mutants, which must not.
"""

import numpy as np
import pytest

from minicnn.autograd import Function, Tensor, gradcheck
from minicnn.backend import ConvGeometry, PoolGeometry, reference
from minicnn.backend.geometry import adaptive_windows

RNG = np.random.default_rng(7)
MUTANTS = {}


def family(*shapes, positive=False):
    """Registers a Function class with the shapes of its inputs; subclasses are its mutants."""

    def register(cls):
        arrays = [RNG.standard_normal(shape) for shape in shapes]
        cls.inputs = [np.abs(a) + 0.5 if positive else a for a in arrays]
        MUTANTS[cls] = []
        return cls

    return register


def mutant(cls):
    MUTANTS[cls.__mro__[1]].append(cls)
    return cls


# ---------------------------------------------------------------- convolution

GEOMETRY = ConvGeometry.of((2, 2, 5, 5), (3, 2, 3, 3), (3,), stride=2, padding=1)


@family((2, 2, 5, 5), (3, 2, 3, 3), (3,))
class Conv(Function):
    def forward(self, x, w, b):
        self.save(x, w)
        return reference.conv_forward(x, w, b, GEOMETRY)

    def backward(self, grad_y):
        x, w = self.saved
        return (
            reference.conv_grad_input(grad_y, w, GEOMETRY),
            reference.conv_grad_weight(x, grad_y, GEOMETRY),
            grad_y.sum((0, 2, 3)),
        )


@mutant
class ConvZeroedInputGradient(Conv):
    def backward(self, grad_y):
        grad_x, grad_w, grad_b = super().backward(grad_y)
        return grad_x * 0, grad_w, grad_b


@mutant
class ConvUnflippedKernel(Conv):
    def backward(self, grad_y):
        _, w = self.saved
        flipped = reference.conv_grad_input(grad_y, w[:, :, ::-1, ::-1], GEOMETRY)
        return flipped, *super().backward(grad_y)[1:]


@mutant
class ConvTransposedWeightGradient(Conv):
    def backward(self, grad_y):
        grad_x, grad_w, grad_b = super().backward(grad_y)
        return grad_x, grad_w.swapaxes(2, 3), grad_b


@mutant
class ConvIgnoresGradY(Conv):
    def backward(self, grad_y):
        return super().backward(np.ones_like(grad_y))


@mutant
class ConvBiasGradientIsAMean(Conv):
    def backward(self, grad_y):
        grad_x, grad_w, _ = super().backward(grad_y)
        return grad_x, grad_w, grad_y.mean((0, 2, 3))


@mutant
class ConvForgetsTheStride(Conv):
    """Places grad_y at row i instead of row i*S."""

    def backward(self, grad_y):
        dense = ConvGeometry.of((2, 2, 3, 3), (3, 2, 3, 3), stride=1, padding=1)
        grad_x = np.zeros((2, 2, 5, 5))
        grad_x[:, :, :3, :3] = reference.conv_grad_input(grad_y, self.saved[1], dense)
        return grad_x, *super().backward(grad_y)[1:]


@mutant
class ConvLeaksIntoThePadding(Conv):
    """The gradient of the padding is wrapped round onto the opposite border."""

    def backward(self, grad_y):
        padded = ConvGeometry.of((2, 2, 7, 7), (3, 2, 3, 3), stride=2)
        full = reference.conv_grad_input(grad_y, self.saved[1], padded)
        grad_x = full[:, :, 1:6, 1:6].copy()
        grad_x[:, :, -1] += full[:, :, 0, 1:6]
        return grad_x, *super().backward(grad_y)[1:]


@mutant
class ConvColumnsOverwrite(Conv):
    """col2im with = for +=: of overlapping windows only the last one counts."""

    def backward(self, grad_y):
        w = self.saved[1]
        grad_x = np.zeros((2, 2, 7, 7))
        for n, f, i, j in np.ndindex(*grad_y.shape):
            grad_x[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] = grad_y[n, f, i, j] * w[f]
        return grad_x[:, :, 1:6, 1:6], *super().backward(grad_y)[1:]


@mutant
class ConvFirstSampleOnly(Conv):
    def backward(self, grad_y):
        x, _ = self.saved
        g = grad_y.copy()
        g[1:] = 0
        grad_x, _, grad_b = super().backward(grad_y)
        return grad_x, reference.conv_grad_weight(x, g, GEOMETRY), grad_b


GROUPED = ConvGeometry.of((1, 4, 4, 3), (4, 2, 2, 2), padding=1, dilation=2, groups=2)


@family((1, 4, 4, 3), (4, 2, 2, 2))
class GroupedDilatedConv(Function):
    def forward(self, x, w):
        self.save(x, w)
        return reference.conv_forward(x, w, None, GROUPED)

    def backward(self, grad_y):
        x, w = self.saved
        grad_w = reference.conv_grad_weight(x, grad_y, GROUPED)
        return reference.conv_grad_input(grad_y, w, GROUPED), grad_w


@mutant
class GroupedConvIgnoresDilation(GroupedDilatedConv):
    """Taps side by side in the input's gradient, which is filled up with zeros behind."""

    def backward(self, grad_y):
        dense = ConvGeometry.of((1, 4, 3, 2), (4, 2, 2, 2), padding=1, groups=2)
        grad_x = np.zeros((1, 4, 4, 3))
        grad_x[:, :, :3, :2] = reference.conv_grad_input(grad_y, self.saved[1], dense)
        return grad_x, super().backward(grad_y)[1]


@mutant
class GroupedConvAlwaysTheFirstGroup(GroupedDilatedConv):
    """c where g*(C/G) + c is meant: all groups read the same channels."""

    def backward(self, grad_y):
        x, _ = self.saved
        first = x[:, [0, 1, 0, 1]]
        grad_w = reference.conv_grad_weight(first, grad_y, GROUPED)
        return super().backward(grad_y)[0], grad_w


# ---------------------------------------------------------------- transposed convolution, folds

UP = ConvGeometry.of_transposed((2, 2, 3, 3), (2, 3, 3, 3), None, 2, 1, 1)


@family((2, 2, 3, 3), (2, 3, 3, 3))
class ConvTranspose(Function):
    def forward(self, x, w):
        self.save(x, w)
        return reference.conv_grad_input(x, w, UP)

    def backward(self, grad_y):
        x, w = self.saved
        grad_w = reference.conv_grad_weight(grad_y, x, UP)
        return reference.conv_forward(grad_y, w, None, UP), grad_w


@mutant
class ConvTransposeTransposedAgain(ConvTranspose):
    """The kernel flipped in the gradient, as if the gradient were not a plain convolution."""

    def backward(self, grad_y):
        _, w = self.saved
        flipped = reference.conv_forward(grad_y, w[:, :, ::-1, ::-1], None, UP)
        return flipped, super().backward(grad_y)[1]


@mutant
class ConvTransposeForgetsTheStride(ConvTranspose):
    """grad_x read at row i in place of row i*S."""

    def backward(self, grad_y):
        _, w = self.saved
        dense = ConvGeometry.of(UP.x_shape, w.shape, padding=1)
        every = reference.conv_forward(grad_y, w, None, dense)
        return every[:, :, :3, :3], super().backward(grad_y)[1]


@mutant
class ConvTransposeForgetsWhatWasCutOff(ConvTranspose):
    """Windows from row 0 on, not from row -P."""

    def backward(self, grad_y):
        x, w = self.saved
        moved = ConvGeometry.of(UP.x_shape, w.shape, stride=2, padding=((0, 1), (0, 1)))
        return (
            reference.conv_forward(grad_y, w, None, moved),
            reference.conv_grad_weight(grad_y, x, moved),
        )


WINDOWS = ConvGeometry.of_windows((2, 2, 4, 4), 3)


@family((2, 2, 4, 4))
class Unfold(Function):
    def forward(self, x):
        return reference.im2col(x, WINDOWS)

    def backward(self, grad_cols):
        return reference.col2im(grad_cols, WINDOWS)


@mutant
class UnfoldLastWindowWins(Unfold):
    """= for +=."""

    def backward(self, grad_cols):
        grad_x, entries = np.zeros((2, 2, 4, 4)), grad_cols.reshape(2, 2, 3, 3, 2, 2)
        for i, j in np.ndindex(2, 2):
            grad_x[:, :, i : i + 3, j : j + 3] = entries[..., i, j]
        return grad_x


@mutant
class UnfoldAveragesOverlap(Unfold):
    """The inverse of im2col in place of its adjoint."""

    def backward(self, grad_cols):
        count = reference.col2im(np.ones_like(grad_cols), WINDOWS)
        return super().backward(grad_cols) / count


# ---------------------------------------------------------------- permutations


@family((2, 6, 2))
class ChannelShuffle(Function):
    """Two groups of three channels."""

    def forward(self, x):
        return x.reshape(2, 2, 3, 2).swapaxes(1, 2).reshape(2, 6, 2)

    def backward(self, grad_y):
        return grad_y.reshape(2, 3, 2, 2).swapaxes(1, 2).reshape(2, 6, 2)


@mutant
class ChannelShuffleTwice(ChannelShuffle):
    """Shuffled once more, with the same groups, in place of back."""

    def backward(self, grad_y):
        return self.forward(grad_y)


@family((8, 2, 3))
class PixelShuffle(Function):
    def forward(self, x):
        return x.reshape(2, 2, 2, 2, 3).transpose(0, 3, 1, 4, 2).reshape(2, 4, 6)

    def backward(self, grad_y):
        return grad_y.reshape(2, 2, 2, 3, 2).transpose(0, 2, 4, 1, 3).reshape(8, 2, 3)


@mutant
class PixelShuffleRowsForColumns(PixelShuffle):
    """(p,q) taken as (q,p) on the way back."""

    def backward(self, grad_y):
        return grad_y.reshape(2, 2, 2, 3, 2).transpose(0, 4, 2, 1, 3).reshape(8, 2, 3)


# ---------------------------------------------------------------- pooling

POOL = PoolGeometry.of((2, 2, 5, 5), 3, stride=2, padding=1)


@family((2, 2, 5, 5))
class MaxPool(Function):
    def forward(self, x):
        y, indices = reference.max_pool_forward(x, POOL)
        self.save(indices)
        return y

    def backward(self, grad_y):
        return reference.max_pool_backward(grad_y, self.saved[0], (2, 2, 5, 5))


@mutant
class MaxPoolLosesOverlap(MaxPool):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 2, 25))
        np.put_along_axis(grad_x, self.saved[0].reshape(2, 2, -1), grad_y.reshape(2, 2, -1), 2)
        return grad_x.reshape(2, 2, 5, 5)


@mutant
class MaxPoolFirstElement(MaxPool):
    def backward(self, grad_y):
        return reference.max_pool_backward(grad_y, self.saved[0] * 0, (2, 2, 5, 5))


@family((2, 2, 5, 5))
class AvgPool(Function):
    def forward(self, x):
        return reference.avg_pool_forward(x, POOL, count_include_pad=False)

    def backward(self, grad_y):
        return reference.avg_pool_backward(grad_y, (2, 2, 5, 5), POOL, count_include_pad=False)


@mutant
class AvgPoolCountsPadding(AvgPool):
    def backward(self, grad_y):
        return reference.avg_pool_backward(grad_y, (2, 2, 5, 5), POOL, count_include_pad=True)


@mutant
class AvgPoolLosesOverlap(AvgPool):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 2, 5, 5))
        for i, j in np.ndindex(3, 3):
            rows, columns = slice(max(0, 2 * i - 1), 2 * i + 2), slice(max(0, 2 * j - 1), 2 * j + 2)
            window = grad_x[:, :, rows, columns]
            window[...] = grad_y[:, :, i : i + 1, j : j + 1] / (window.shape[2] * window.shape[3])
        return grad_x


VOLUME = PoolGeometry.of((2, 1, 3, 4, 2), 2, 1, function="max_pool3d")


@family((2, 1, 3, 4, 2))
class MaxPool3d(Function):
    def forward(self, x):
        y, indices = reference.max_pool_forward(x, VOLUME)
        self.save(indices)
        return y

    def backward(self, grad_y):
        return reference.max_pool_backward(grad_y, self.saved[0], (2, 1, 3, 4, 2))


@mutant
class MaxPool3dExchangesAxes(MaxPool3d):
    def backward(self, grad_y):
        """Takes (d*H + h)*W + k for (d*W + k)*H + h."""
        d, h, k = np.unravel_index(self.saved[0], (3, 4, 2))
        return reference.max_pool_backward(grad_y, (d * 2 + k) * 4 + h, (2, 1, 3, 4, 2))


@family((2, 2, 5, 4))
class AdaptiveAvgPool(Function):
    def forward(self, x):
        return reference.adaptive_avg_pool_forward(x, (3, 3))

    def backward(self, grad_y):
        return reference.adaptive_avg_pool_backward(grad_y, (2, 2, 5, 4))


@mutant
class AdaptiveAvgPoolOneDivisor(AdaptiveAvgPool):
    def backward(self, grad_y):
        """As if every window had H*W / (OH*OW) pixels."""
        sizes = np.array([2, 3, 2])[:, None] * np.array([2, 2, 2])
        return super().backward(grad_y * sizes / (5 * 4 / 9))


@mutant
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


@family((2, 1, 6))
class LpPool(Function):
    """y = (3 * mean of x^4)^(1/4); the last window has two values."""

    def forward(self, x):
        s = reference.avg_pool_forward(x**4, HANGING) * 3
        self.save(x, s)
        return s**0.25

    def backward(self, grad_y):
        x, s = self.saved
        return x**3 * self.spread(3 * s**-0.75 * grad_y)

    def spread(self, g):
        return reference.avg_pool_backward(g, (2, 1, 6), HANGING)


@mutant
class LpPoolOfAbsoluteValues(LpPool):
    def backward(self, grad_y):
        return np.abs(super().backward(grad_y))


@mutant
class LpPoolForgetsWhatHangsOver(LpPool):
    def spread(self, g):
        return reference.avg_pool_backward(g, (2, 1, 6), HANGING, True, 3)


@mutant
class LpPoolForgetsTheRoot(LpPool):
    def backward(self, grad_y):
        x, _ = self.saved
        return x**3 * self.spread(3 * grad_y)


PLACES = np.array([[[0, 5, 5, 3]], [[1, 1, 1, 0]]])


@family((2, 1, 4))
class MaxUnpool(Function):
    def forward(self, x):
        return reference.max_unpool_forward(x, PLACES, (6,))

    def backward(self, grad_y):
        return reference.max_unpool_backward(grad_y, PLACES)


@mutant
class MaxUnpoolGradientForWhatWasWrittenOver(MaxUnpool):
    def backward(self, grad_y):
        return reference.max_pool_gather(grad_y, PLACES)


@family((2, 2, 5, 5), positive=True)
class StochasticPoolMean(Function):
    """y = q / s: the sum of squares by the sum."""

    def forward(self, x):
        s, q = (reference.avg_pool_forward(v, POOL, True, 1) for v in (x, x * x))
        self.save(x, s, q / s)
        return q / s

    def backward(self, grad_y):
        x, s, y = self.saved
        return 2 * x * self.spread(grad_y / s) - self.spread(y * grad_y / s)

    def spread(self, g):
        return reference.avg_pool_backward(g, (2, 2, 5, 5), POOL, True, 1)


@mutant
class StochasticPoolMeanFixedProbabilities(StochasticPoolMean):
    def backward(self, grad_y):
        x, s, _ = self.saved
        return x * self.spread(grad_y / s)


@mutant
class StochasticPoolMeanFixedSum(StochasticPoolMean):
    def backward(self, grad_y):
        x, s, _ = self.saved
        return 2 * x * self.spread(grad_y / s)


@family((2, 2, 5, 5), positive=True)
class StochasticPool(Function):
    def forward(self, x):
        u = np.random.default_rng(0).random((2, 2, 3, 3))
        y, indices = reference.stochastic_pool_forward(x, u, POOL)
        self.save(x, indices)
        return y

    def backward(self, grad_y):
        return reference.max_pool_backward(grad_y, self.saved[1], (2, 2, 5, 5))


@mutant
class StochasticPoolGradientToTheLargest(StochasticPool):
    def backward(self, grad_y):
        _, indices = reference.max_pool_forward(self.saved[0], POOL)
        return reference.max_pool_backward(grad_y, indices, (2, 2, 5, 5))


# ---------------------------------------------------------------- batch norm


@family((4, 3, 2), (3,))
class BatchNorm(Function):
    def forward(self, x, w):
        self.mean = x.mean((0, 2), keepdims=True)
        self.inv_std = 1 / np.sqrt(x.var((0, 2), keepdims=True) + 1e-5)
        self.save(x, w)
        return w[:, None] * (x - self.mean) * self.inv_std

    def paths(self, grad_y):
        x, w = self.saved
        x_hat = (x - self.mean) * self.inv_std
        grad_hat = grad_y * w[:, None]
        through_mean = grad_hat.mean((0, 2), keepdims=True)
        through_var = x_hat * (grad_hat * x_hat).mean((0, 2), keepdims=True)
        return grad_hat, through_mean, through_var, (grad_y * x_hat).sum((0, 2))

    def backward(self, grad_y):
        direct, through_mean, through_var, grad_w = self.paths(grad_y)
        return self.inv_std * (direct - through_mean - through_var), grad_w


@mutant
class BatchNormWithoutMeanPath(BatchNorm):
    def backward(self, grad_y):
        direct, _, through_var, grad_w = self.paths(grad_y)
        return self.inv_std * (direct - through_var), grad_w


@mutant
class BatchNormWithoutVariancePath(BatchNorm):
    def backward(self, grad_y):
        direct, through_mean, _, grad_w = self.paths(grad_y)
        return self.inv_std * (direct - through_mean), grad_w


@mutant
class BatchNormWithoutOneOverM(BatchNorm):
    def backward(self, grad_y):
        direct, through_mean, through_var, grad_w = self.paths(grad_y)
        return self.inv_std * (direct - 8 * through_mean - through_var), grad_w


@mutant
class BatchNormUnbiased(BatchNorm):
    """M - 1 for M under the variance path."""

    def backward(self, grad_y):
        direct, through_mean, through_var, grad_w = self.paths(grad_y)
        return self.inv_std * (direct - through_mean - through_var * 8 / 7), grad_w


# ---------------------------------------------------------------- norms within a sample


@family((3, 4, 2), (4,))
class GroupNorm(Function):
    """Two groups of two channels, so that w differs within a group."""

    def forward(self, x, w):
        rows = x.reshape(3, 2, 4)
        self.r = 1 / np.sqrt(rows.var(2, keepdims=True) + 1e-5)
        self.x_hat = (rows - rows.mean(2, keepdims=True)) * self.r
        self.save(w)
        return w[:, None] * self.x_hat.reshape(3, 4, 2)

    def backward(self, grad_y):
        (w,) = self.saved
        return self.of_sets(grad_y * w[:, None]), self.grad_w(grad_y)

    def grad_w(self, grad_y):
        return (grad_y * self.x_hat.reshape(3, 4, 2)).sum((0, 2))

    def of_sets(self, g):
        g = g.reshape(3, 2, 4)
        along = (g * self.x_hat).mean(2, keepdims=True)
        grad_x = self.r * (g - g.mean(2, keepdims=True) - self.x_hat * along)
        return grad_x.reshape(3, 4, 2)


@mutant
class GroupNormWeightOutsideTheSums(GroupNorm):
    """As batch norm may do it, where w is one number for a set."""

    def backward(self, grad_y):
        (w,) = self.saved
        return w[:, None] * self.of_sets(grad_y), self.grad_w(grad_y)


@mutant
class GroupNormConstantStatistics(GroupNorm):
    def of_sets(self, g):
        return g * np.repeat(self.r, 2, axis=1)


@mutant
class GroupNormSumsOverChannels(GroupNorm):
    """The means over the channel in place of those over its group."""

    def of_sets(self, g):
        x_hat, r = self.x_hat.reshape(3, 4, 2), np.repeat(self.r, 2, axis=1)
        along = (g * x_hat).mean(2, keepdims=True)
        return r * (g - g.mean(2, keepdims=True) - x_hat * along)


@family((3, 5))
class RMSNorm(Function):
    def forward(self, x):
        self.r = 1 / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5)
        self.save(x)
        return x * self.r

    def backward(self, grad_y):
        (x,) = self.saved
        x_hat = x * self.r
        return self.r * (grad_y - x_hat * (grad_y * x_hat).mean(1, keepdims=True))


@mutant
class RMSNormConstantScale(RMSNorm):
    def backward(self, grad_y):
        return self.r * grad_y


@mutant
class RMSNormWithMeanPath(RMSNorm):
    """Layer norm's backward."""

    def backward(self, grad_y):
        return super().backward(grad_y) - self.r * grad_y.mean(1, keepdims=True)


@family((2, 5, 2))
class LocalResponseNorm(Function):
    """Windows of 2 channels, c - 1 and c; alpha = 2, beta = 1, k = 1."""

    def forward(self, x):
        self.q = 1 + x**2
        self.q[:, 1:] += x[:, :-1] ** 2
        self.save(x)
        return x / self.q

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y / self.q - 2 * x * self.sums(grad_y * x / self.q**2)

    def sums(self, t):
        total = t.copy()
        total[:, :-1] += t[:, 1:]
        return total


@mutant
class LocalResponseNormWindowNotTurned(LocalResponseNorm):
    def sums(self, t):
        total = t.copy()
        total[:, 1:] += t[:, :-1]
        return total


@mutant
class LocalResponseNormOwnChannelAlone(LocalResponseNorm):
    def sums(self, t):
        return t


# ---------------------------------------------------------------- softmax and losses


@family((3, 4))
class Softmax(Function):
    def forward(self, x):
        y = reference.softmax_forward(x, 1)
        self.save(y)
        return y

    def backward(self, grad_y):
        (y,) = self.saved
        return y * (grad_y - (grad_y * y).sum(1, keepdims=True))


@mutant
class SoftmaxZeros(Softmax):
    """A check that sums the output passes this one."""

    def backward(self, grad_y):
        return grad_y * 0


@mutant
class SoftmaxDiagonalOnly(Softmax):
    def backward(self, grad_y):
        (y,) = self.saved
        return grad_y * y * (1 - y)


@mutant
class SoftmaxOtherAxis(Softmax):
    def backward(self, grad_y):
        (y,) = self.saved
        return y * (grad_y - (grad_y * y).sum(0, keepdims=True))


LABELS = np.array([1, 0, 3])


@family((3, 4))
class CrossEntropy(Function):
    def forward(self, x):
        log_p = reference.log_softmax_forward(x, 1)
        self.save(log_p)
        return -log_p[np.arange(3), LABELS].mean()

    def backward(self, grad_y):
        return grad_y * (np.exp(self.saved[0]) - np.eye(4)[LABELS]) / 3


@mutant
class CrossEntropyWithoutOneOverN(CrossEntropy):
    def backward(self, grad_y):
        return super().backward(grad_y) * 3


@mutant
class CrossEntropyWithoutOneHot(CrossEntropy):
    def backward(self, grad_y):
        return grad_y * np.exp(self.saved[0]) / 3


@mutant
class CrossEntropyIgnoresGradY(CrossEntropy):
    def backward(self, grad_y):
        return super().backward(np.ones_like(grad_y))


# ---------------------------------------------------------------- products, maxima, masks


@family((3, 4), (4,))
class Mul(Function):
    def forward(self, a, b):
        self.save(a, b)
        return a * b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y * b, (grad_y * a).sum(0)


@mutant
class MulBroadcastAveraged(Mul):
    def backward(self, grad_y):
        grad_a, grad_b = super().backward(grad_y)
        return grad_a, grad_b / 3


@mutant
class MulForgetsTheOtherFactor(Mul):
    def backward(self, grad_y):
        return grad_y, super().backward(grad_y)[1]


@mutant
class MulStaleSavedArray(Mul):
    """What was saved is overwritten by later work in the same scratch."""

    def forward(self, a, b):
        scratch = b.copy()
        self.save(a, scratch)
        y = a * b
        scratch[...] = 1.0
        return y


@family((3, 4), (3, 4), positive=True)
class Div(Function):
    def forward(self, a, b):
        self.save(a, b)
        return a / b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y / b, -grad_y * a / (b * b)


@mutant
class DivWrongSign(Div):
    def backward(self, grad_y):
        grad_a, grad_b = super().backward(grad_y)
        return grad_a, -grad_b


@family((3, 3), (3, 3))
class MatMul(Function):
    def forward(self, a, b):
        self.save(a, b)
        return a @ b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ b.T, a.T @ grad_y


@mutant
class MatMulUntransposed(MatMul):
    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ b, a @ grad_y


@family((4, 3))
class Sigmoid(Function):
    def forward(self, x):
        y = 1 / (1 + np.exp(-x))
        self.save(y)
        return y

    def backward(self, grad_y):
        (y,) = self.saved
        return grad_y * y * (1 - y)


@mutant
class SigmoidOfTheOutput(Sigmoid):
    """The derivative evaluated at y instead of x."""

    def backward(self, grad_y):
        s = 1 / (1 + np.exp(-self.saved[0]))
        return grad_y * s * (1 - s)


@family((4, 3))
class Relu(Function):
    def forward(self, x):
        self.save(x)
        return np.maximum(x, 0)

    def backward(self, grad_y):
        return grad_y * (self.saved[0] > 0)


@mutant
class ReluMaskOfTheGradient(Relu):
    def backward(self, grad_y):
        return grad_y * (grad_y > 0)


@mutant
class ReluLeaks(Relu):
    def backward(self, grad_y):
        return grad_y * np.where(self.saved[0] > 0, 1, 1e-4)


@family((4, 3))
class MaxOverRows(Function):
    def forward(self, x):
        self.save(x.argmax(1))
        return x.max(1)

    def backward(self, grad_y):
        return grad_y[:, None] * np.eye(3)[self.saved[0]]


@mutant
class MaxSpreadOverAll(MaxOverRows):
    def backward(self, grad_y):
        return np.repeat(grad_y[:, None], 3, 1) / 3


@family((4, 3))
class Dropout(Function):
    mask = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 0]])

    def forward(self, x):
        return x * self.mask * 2

    def backward(self, grad_y):
        return grad_y * self.mask * 2


@mutant
class DropoutUnscaled(Dropout):
    def backward(self, grad_y):
        return grad_y * self.mask


@mutant
class DropoutOtherMask(Dropout):
    def backward(self, grad_y):
        return grad_y * self.mask[::-1] * 2


def check(cls, **options):
    inputs = tuple(Tensor(a, requires_grad=True) for a in cls.inputs)
    return gradcheck(cls.apply, inputs, raise_exception=False, **options)


@pytest.mark.parametrize("right", MUTANTS, ids=lambda cls: cls.__name__)
def test_the_right_form_passes(right):
    assert check(right)


@pytest.mark.parametrize(
    "wrong", [m for group in MUTANTS.values() for m in group], ids=lambda cls: cls.__name__
)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_mutant_is_rejected(wrong, seed):
    assert not check(wrong, seed=seed)


def test_there_are_enough_of_them():
    assert sum(map(len, MUTANTS.values())) >= 15
    assert all(MUTANTS.values()), "every family has a mutant"
