"""Wrong second derivatives: backwards that are right, and cannot be differentiated.

Under create_graph a backward runs on Tensors and is itself recorded. What it takes from `self`,
or reads with `raw`, is a constant there: the first derivative is right, the second is not.
"""

import numpy as np

import minicnn
from minicnn.autograd import Function, Tensor

COVERS = ()


def raw(x):
    """x cut off from the graph."""
    return x.array if isinstance(x, Tensor) else x


class BatchNormTwice(Function):
    shapes = ((6, 2),)

    def forward(self, x):
        self.r = 1 / np.sqrt(x.var(0) + 1e-5)
        self.mean = x.mean(0)
        self.save(x)
        return (x - self.mean) * self.r

    def backward(self, grad_y):
        (x,) = self.saved
        mean, r = self.statistics(x)
        x_hat = (x - mean) * r
        along = (grad_y * x_hat).mean(0)
        return r * (grad_y - grad_y.mean(0) - x_hat * along)

    def statistics(self, x):
        mean = x.mean(0)
        return mean, (((x - mean) ** 2).mean(0) + 1e-5) ** -0.5


class BatchNormConstantInverseDeviation(BatchNormTwice):
    """The classic: r from the forward, though it is a function of x."""

    def statistics(self, x):
        return x.mean(0), self.r


class BatchNormConstantMean(BatchNormTwice):
    def statistics(self, x):
        return self.mean, super().statistics(x)[1]


class BatchNormConstantStatistics(BatchNormTwice):
    def statistics(self, x):
        return self.mean, self.r


class LayerNormTwice(Function):
    shapes = ((2, 6),)

    def forward(self, x):
        self.x_hat = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        self.save(x)
        return self.x_hat

    def backward(self, grad_y):
        (x,) = self.saved
        u = x - x.mean(1).reshape(2, 1)
        r = ((u * u).mean(1).reshape(2, 1) + 1e-5) ** -0.5
        x_hat = self.normalised(u * r)
        along = (grad_y * x_hat).mean(1).reshape(2, 1)
        return r * (grad_y - grad_y.mean(1).reshape(2, 1) - x_hat * along)

    def normalised(self, x_hat):
        return x_hat


class LayerNormConstantOutput(LayerNormTwice):
    """x_hat kept as an attribute, not saved."""

    def normalised(self, x_hat):
        return self.x_hat


class RMSNormTwice(Function):
    shapes = ((2, 5),)

    def forward(self, x):
        self.r = ((x * x).mean(1, keepdims=True) + 1e-5) ** -0.5
        self.save(x)
        return x * self.r

    def backward(self, grad_y):
        (x,) = self.saved
        r = self.scale(x)
        return r * grad_y - x * r**3 * (grad_y * x).mean(1).reshape(2, 1)

    def scale(self, x):
        return ((x * x).mean(1).reshape(2, 1) + 1e-5) ** -0.5


class RMSNormConstantRoot(RMSNormTwice):
    def scale(self, x):
        return self.r


class TanhTwice(Function):
    shapes = ((4, 3),)

    def forward(self, x):
        self.y = np.tanh(x)
        self.save(self.y)  # an output that is saved gets its edge back
        return self.y

    def backward(self, grad_y):
        (y,) = self.saved
        return grad_y * (1 - y * y)


class TanhConstantOutput(TanhTwice):
    def backward(self, grad_y):
        return grad_y * (1 - self.y * self.y)


class SigmoidTwice(Function):
    """A factor 1 - y that is computed in the forward and saved: neither input nor output."""

    shapes = ((4, 3),)

    def forward(self, x):
        y = 1 / (1 + np.exp(-x))
        self.save(y, 1 - y)
        return y

    def backward(self, grad_y):
        y, _ = self.saved
        return grad_y * y * (1 - y)


class SigmoidSavedIntermediate(SigmoidTwice):
    def backward(self, grad_y):
        y, rest = self.saved
        return grad_y * y * rest


class SoftmaxTwice(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        y = np.exp(x - x.max(1, keepdims=True))
        y /= y.sum(1, keepdims=True)
        self.save(y)
        return y

    def backward(self, grad_y):
        (y,) = self.saved
        return y * (grad_y - (grad_y * y).sum(1).reshape(3, 1))


class SoftmaxConstantOutput(SoftmaxTwice):
    def backward(self, grad_y):
        y = raw(self.saved[0])
        return y * (grad_y - (grad_y * y).sum(1).reshape(3, 1))


class SoftmaxConstantInTheSum(SoftmaxTwice):
    def backward(self, grad_y):
        (y,) = self.saved
        return y * (grad_y - (grad_y * raw(y)).sum(1).reshape(3, 1))


class LogSoftmaxTwice(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        y = x - np.log(np.exp(x).sum(1, keepdims=True))
        self.p = np.exp(y)
        self.save(y)
        return y

    def backward(self, grad_y):
        return grad_y - minicnn.exp(self.saved[0]) * grad_y.sum(1).reshape(3, 1)


class LogSoftmaxConstantProbabilities(LogSoftmaxTwice):
    def backward(self, grad_y):
        return grad_y - self.p * grad_y.sum(1).reshape(3, 1)


class MulTwice(Function):
    shapes = ((3, 4), (3, 4))

    def forward(self, a, b):
        self.save(a, b)
        return a * b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y * b, grad_y * a


class MulOneFactorConstant(MulTwice):
    def backward(self, grad_y):
        a, b = self.saved
        return grad_y * raw(b), grad_y * a


class MulGradientConstant(MulTwice):
    """grad_y cut off: right second derivatives in a and b, none in grad_y."""

    def backward(self, grad_y):
        a, b = self.saved
        return raw(grad_y) * b, raw(grad_y) * a


class SmallCubeTwice(Function):
    """Second derivatives below atol."""

    shapes = ((3, 4),)

    def forward(self, x):
        self.save(x)
        return x * x * x * 1e-9

    def backward(self, grad_y):
        (x,) = self.saved
        return 3e-9 * x * x * grad_y


class SmallCubeOneFactorConstant(SmallCubeTwice):
    def backward(self, grad_y):
        (x,) = self.saved
        return 3e-9 * x * raw(x) * grad_y


class MatMulTwice(Function):
    shapes = ((3, 4), (4, 2))

    def forward(self, a, b):
        self.save(a, b)
        return a @ b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ b.T, a.T @ grad_y


class MatMulConstantWeight(MatMulTwice):
    def backward(self, grad_y):
        a, b = self.saved
        return grad_y @ raw(b).T, a.T @ grad_y


class Conv1dTwice(Function):
    """y[n,i] = w[0] x[n,i] + w[1] x[n,i+1]."""

    shapes = ((2, 5), (2,))

    def forward(self, x, w):
        self.save(x, w)
        return w[0] * x[:, :-1] + w[1] * x[:, 1:]

    def backward(self, grad_y):
        x, w = self.saved
        zero = np.zeros((2, 1))
        grad_x = minicnn.cat([w[0] * grad_y, zero], 1) + minicnn.cat([zero, w[1] * grad_y], 1)
        return grad_x, self.grad_w(grad_y, x)

    def grad_w(self, grad_y, x):
        return minicnn.stack([(grad_y * x[:, :-1]).sum(), (grad_y * x[:, 1:]).sum()])


class Conv1dConstantInput(Conv1dTwice):
    """The weight gradient of a copy of x, as a buffer of columns would be."""

    def grad_w(self, grad_y, x):
        return super().grad_w(grad_y, raw(x))


class LpPoolTwice(Function):
    """y = (sum of x^4)^(1/4)."""

    shapes = ((3, 4),)

    def forward(self, x):
        self.y = (x**4).sum(1) ** 0.25
        self.save(x, self.y)
        return self.y

    def backward(self, grad_y):
        x, y = self.saved
        return (grad_y * y**-3).reshape(3, 1) * x**3


class LpPoolConstantRoot(LpPoolTwice):
    def backward(self, grad_y):
        x, _ = self.saved
        return (grad_y * self.y**-3).reshape(3, 1) * x**3


class NormalizeTwice(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.norm = np.sqrt((x * x).sum(1, keepdims=True))
        self.save(x)
        return x / self.norm

    def backward(self, grad_y):
        (x,) = self.saved
        n = self.length(x)
        return grad_y / n - x * (grad_y * x).sum(1).reshape(3, 1) / n**3

    def length(self, x):
        return (x * x).sum(1).reshape(3, 1) ** 0.5


class NormalizeConstantLength(NormalizeTwice):
    def length(self, x):
        return self.norm


class CrossEntropyTwice(Function):
    """Of one row, class 0."""

    shapes = ((4,),)

    def forward(self, x):
        self.save(x)
        self.p = np.exp(x) / np.exp(x).sum()
        return -np.log(self.p[0])

    def backward(self, grad_y):
        (x,) = self.saved
        e = minicnn.exp(x)
        return grad_y * (e / e.sum() - np.eye(4)[0])


class CrossEntropyConstantProbabilities(CrossEntropyTwice):
    def backward(self, grad_y):
        return grad_y * (self.p - np.eye(4)[0])
