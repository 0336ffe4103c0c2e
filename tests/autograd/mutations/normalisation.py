"""Wrong backwards of batch, layer, group, instance, root mean square, local response norm."""

import numpy as np

from minicnn.autograd import Function

COVERS = ("norm", "sample_norm", "rms", "response_norm")


class BatchNorm(Function):
    shapes = ((4, 3, 2), (3,))

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


class BatchNormWithoutMeanPath(BatchNorm):
    def backward(self, grad_y):
        direct, _, through_var, grad_w = self.paths(grad_y)
        return self.inv_std * (direct - through_var), grad_w


class BatchNormWithoutVariancePath(BatchNorm):
    def backward(self, grad_y):
        direct, through_mean, _, grad_w = self.paths(grad_y)
        return self.inv_std * (direct - through_mean), grad_w


class BatchNormWithoutOneOverM(BatchNorm):
    def backward(self, grad_y):
        direct, through_mean, through_var, grad_w = self.paths(grad_y)
        return self.inv_std * (direct - 8 * through_mean - through_var), grad_w


class BatchNormUnbiased(BatchNorm):
    """M - 1 for M under the variance path."""

    def backward(self, grad_y):
        direct, through_mean, through_var, grad_w = self.paths(grad_y)
        return self.inv_std * (direct - through_mean - through_var * 8 / 7), grad_w


class BatchNormBiasGradientIsAMean(BatchNorm):
    """grad_w divided by M, as if it were one of the means above."""

    def backward(self, grad_y):
        grad_x, grad_w = super().backward(grad_y)
        return grad_x, grad_w / 8


class BatchNormInEvaluation(Function):
    """mean and var are given numbers: one path alone."""

    shapes = ((4, 3, 2), (3,))
    mean, var = np.array([0.1, -0.2, 0.3])[:, None], np.array([1.2, 0.7, 2.0])[:, None]

    def forward(self, x, w):
        self.save(x, w)
        return w[:, None] * (x - self.mean) / np.sqrt(self.var)

    def backward(self, grad_y):
        x, w = self.saved
        x_hat = (x - self.mean) / np.sqrt(self.var)
        return grad_y * w[:, None] / np.sqrt(self.var), (grad_y * x_hat).sum((0, 2))


class BatchNormInEvaluationAsInTraining(BatchNormInEvaluation):
    def backward(self, grad_y):
        grad_x, grad_w = super().backward(grad_y)
        return grad_x - grad_x.mean((0, 2), keepdims=True), grad_w


class BatchNormInEvaluationByTheVariance(BatchNormInEvaluation):
    """The root forgotten."""

    def backward(self, grad_y):
        grad_x, grad_w = super().backward(grad_y)
        return grad_x / np.sqrt(self.var), grad_w


class LayerNorm(Function):
    """Over the last axis, with a weight for each of its elements."""

    shapes = ((3, 5), (5,))

    def forward(self, x, w):
        self.r = 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        self.x_hat = (x - x.mean(1, keepdims=True)) * self.r
        self.save(w)
        return w * self.x_hat

    def backward(self, grad_y):
        (w,) = self.saved
        return self.of_rows(grad_y * w), (grad_y * self.x_hat).sum(0)

    def of_rows(self, g, axis=1):
        along = (g * self.x_hat).mean(axis, keepdims=True)
        return self.r * (g - g.mean(axis, keepdims=True) - self.x_hat * along)


class LayerNormWithoutMeanPath(LayerNorm):
    def of_rows(self, g, axis=1):
        return self.r * (g - self.x_hat * (g * self.x_hat).mean(1, keepdims=True))


class LayerNormOverTheBatch(LayerNorm):
    """Batch norm's axis."""

    def of_rows(self, g, axis=1):
        return super().of_rows(g, axis=0)


class LayerNormWeightOfOneRow(LayerNorm):
    """The rows' gradients of w not summed."""

    def backward(self, grad_y):
        return super().backward(grad_y)[0], (grad_y * self.x_hat)[0]


class InstanceNorm(Function):
    """Each channel of each sample by itself."""

    shapes = ((3, 2, 4),)

    def forward(self, x):
        self.r = 1 / np.sqrt(x.var(2, keepdims=True) + 1e-5)
        self.x_hat = (x - x.mean(2, keepdims=True)) * self.r
        return self.x_hat

    def backward(self, grad_y):
        return self.over(grad_y, 2)

    def over(self, g, axes):
        along = (g * self.x_hat).mean(axes, keepdims=True)
        return self.r * (g - g.mean(axes, keepdims=True) - self.x_hat * along)


class InstanceNormOverTheBatch(InstanceNorm):
    def backward(self, grad_y):
        return self.over(grad_y, (0, 2))


class InstanceNormOverChannels(InstanceNorm):
    """Layer norm's backward."""

    def backward(self, grad_y):
        return self.over(grad_y, (1, 2))


class GroupNorm(Function):
    """Two groups of two channels, so that w differs within a group."""

    shapes = ((3, 4, 2), (4,))

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


class GroupNormWeightOutsideTheSums(GroupNorm):
    """As batch norm may do it, where w is one number for a set."""

    def backward(self, grad_y):
        (w,) = self.saved
        return w[:, None] * self.of_sets(grad_y), self.grad_w(grad_y)


class GroupNormConstantStatistics(GroupNorm):
    def of_sets(self, g):
        return g * np.repeat(self.r, 2, axis=1)


class GroupNormSumsOverChannels(GroupNorm):
    """The means over the channel in place of those over its group."""

    def of_sets(self, g):
        x_hat, r = self.x_hat.reshape(3, 4, 2), np.repeat(self.r, 2, axis=1)
        along = (g * x_hat).mean(2, keepdims=True)
        return r * (g - g.mean(2, keepdims=True) - x_hat * along)


class RMSNorm(Function):
    shapes = ((3, 5),)

    def forward(self, x):
        self.r = 1 / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5)
        self.save(x)
        return x * self.r

    def backward(self, grad_y):
        (x,) = self.saved
        x_hat = x * self.r
        return self.r * (grad_y - x_hat * (grad_y * x_hat).mean(1, keepdims=True))


class RMSNormConstantScale(RMSNorm):
    def backward(self, grad_y):
        return self.r * grad_y


class RMSNormWithMeanPath(RMSNorm):
    """Layer norm's backward."""

    def backward(self, grad_y):
        return super().backward(grad_y) - self.r * grad_y.mean(1, keepdims=True)


class LocalResponseNorm(Function):
    """Windows of 2 channels, c - 1 and c; alpha = 2, beta = 1, k = 1."""

    shapes = ((2, 5, 2),)

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


class LocalResponseNormWindowNotTurned(LocalResponseNorm):
    def sums(self, t):
        total = t.copy()
        total[:, 1:] += t[:, :-1]
        return total


class LocalResponseNormOwnChannelAlone(LocalResponseNorm):
    def sums(self, t):
        return t
