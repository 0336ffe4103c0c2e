"""Wrong backwards of activations. Each family is a forward of x and its slope."""

import math

import numpy as np

from minicnn.autograd import Function
from minicnn.backend import reference

COVERS = ("activation", "gate", "shrink", "special", "inverse_erf", "noisy")

ERF = np.vectorize(math.erf)


def logistic(x):
    return 1 / (1 + np.exp(-x))


class Sigmoid(Function):
    shapes = ((4, 3),)

    def forward(self, x):
        y = 1 / (1 + np.exp(-x))
        self.save(y)
        return y

    def backward(self, grad_y):
        (y,) = self.saved
        return grad_y * y * (1 - y)


class SigmoidOfTheOutput(Sigmoid):
    """The derivative evaluated at y instead of x."""

    def backward(self, grad_y):
        s = 1 / (1 + np.exp(-self.saved[0]))
        return grad_y * s * (1 - s)


class Relu(Function):
    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return np.maximum(x, 0)

    def backward(self, grad_y):
        return grad_y * (self.saved[0] > 0)


class ReluMaskOfTheGradient(Relu):
    def backward(self, grad_y):
        return grad_y * (grad_y > 0)


class ReluLeaks(Relu):
    def backward(self, grad_y):
        return grad_y * np.where(self.saved[0] > 0, 1, 1e-4)


class Softmax(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        y = reference.softmax_forward(x, 1)
        self.save(y)
        return y

    def backward(self, grad_y):
        (y,) = self.saved
        return y * (grad_y - (grad_y * y).sum(1, keepdims=True))


class SoftmaxZeros(Softmax):
    """A check that sums the output passes this one."""

    def backward(self, grad_y):
        return grad_y * 0


class SoftmaxDiagonalOnly(Softmax):
    def backward(self, grad_y):
        (y,) = self.saved
        return grad_y * y * (1 - y)


class SoftmaxOtherAxis(Softmax):
    def backward(self, grad_y):
        (y,) = self.saved
        return y * (grad_y - (grad_y * y).sum(0, keepdims=True))


class Softmin(Function):
    """softmin(x) = softmax(-x)."""

    shapes = ((3, 4),)

    def forward(self, x):
        y = reference.softmax_forward(-x, 1)
        self.save(y)
        return y

    def backward(self, grad_y):
        (y,) = self.saved
        return -y * (grad_y - (grad_y * y).sum(1, keepdims=True))


class SoftminForgetsItsSign(Softmin):
    def backward(self, grad_y):
        return -super().backward(grad_y)


class LogSoftmax(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        y = reference.log_softmax_forward(x, 1)
        self.save(y)
        return y

    def backward(self, grad_y):
        return grad_y - np.exp(self.saved[0]) * grad_y.sum(1, keepdims=True)


class LogSoftmaxWithoutTheExponential(LogSoftmax):
    def backward(self, grad_y):
        return grad_y - self.saved[0] * grad_y.sum(1, keepdims=True)


class LogSoftmaxOfTheElement(LogSoftmax):
    """grad_y of the element in place of the row's sum."""

    def backward(self, grad_y):
        return grad_y * (1 - np.exp(self.saved[0]))


class Tanh(Function):
    shapes = ((4, 3),)

    def forward(self, x):
        self.save(np.tanh(x))
        return np.tanh(x)

    def backward(self, grad_y):
        return grad_y * (1 - self.saved[0] ** 2)


class TanhWithoutTheSquare(Tanh):
    def backward(self, grad_y):
        return grad_y * (1 - self.saved[0])


class LeakyRelu(Function):
    shapes = ((4, 3),)
    slope = 0.1

    def forward(self, x):
        self.save(x)
        return np.where(x > 0, x, self.slope * x)

    def backward(self, grad_y):
        return grad_y * np.where(self.saved[0] > 0, 1, self.slope)


class LeakyReluOnTheOtherSide(LeakyRelu):
    def backward(self, grad_y):
        return grad_y * np.where(self.saved[0] > 0, self.slope, 1)


class LeakyReluAsRelu(LeakyRelu):
    def backward(self, grad_y):
        return grad_y * (self.saved[0] > 0)


class Prelu(Function):
    """A slope for each channel of (N, C, L)."""

    shapes = ((2, 3, 2), (3,))

    def forward(self, x, w):
        self.save(x, w)
        return np.where(x > 0, x, w[:, None] * x)

    def backward(self, grad_y):
        x, w = self.saved
        grad_w = (grad_y * np.minimum(x, 0)).sum((0, 2))
        return grad_y * np.where(x > 0, 1, w[:, None]), grad_w


class PreluWeightOfThePositivePart(Prelu):
    def backward(self, grad_y):
        x, _ = self.saved
        return super().backward(grad_y)[0], (grad_y * np.maximum(x, 0)).sum((0, 2))


class PreluWeightOfAllElements(Prelu):
    def backward(self, grad_y):
        x, _ = self.saved
        return super().backward(grad_y)[0], (grad_y * x).sum((0, 2))


class Elu(Function):
    """alpha = 2: with alpha = 1, where y + alpha is y + 1, the mistake could not be seen."""

    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0)))

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * np.where(x > 0, 1, 2 * np.exp(np.minimum(x, 0)))


class EluOfAlphaOne(Elu):
    """y + 1 for y + alpha."""

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * np.where(x > 0, 1, self.forward(x) + 1)


class EluWithoutItsScale(Elu):
    """selu's forward: its scale is missing in the backward."""

    def forward(self, x):
        return 1.0507 * super().forward(x)


class Celu(Function):
    """max(x, 0) + 2 (exp(x/2) - 1) below 0."""

    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0) / 2))

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * np.where(x > 0, 1, np.exp(np.minimum(x, 0) / 2))


class CeluAsElu(Celu):
    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * np.where(x > 0, 1, 2 * np.exp(np.minimum(x, 0)))


class Gelu(Function):
    """y = x Phi(x), Phi the normal distribution."""

    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return x * self.phi(x)

    def phi(self, x):
        return (1 + ERF(x / math.sqrt(2))) / 2

    def density(self, x):
        return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * (self.phi(x) + x * self.density(x))


class GeluOneFactorConstant(Gelu):
    """The product rule's second half forgotten."""

    def backward(self, grad_y):
        return grad_y * self.phi(self.saved[0])


class GeluDensityUnscaled(Gelu):
    def density(self, x):
        return np.exp(-x * x / 2)


class GeluTanh(Function):
    """y = x (1 + tanh u) / 2, u = sqrt(2/pi) (x + 0.044715 x^3)."""

    shapes = ((4, 3),)
    inner = 3 * 0.044715

    def forward(self, x):
        self.save(x)
        return x * (1 + self.tanh(x)) / 2

    def tanh(self, x):
        return np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))

    def backward(self, grad_y):
        (x,) = self.saved
        t, du = self.tanh(x), math.sqrt(2 / math.pi) * (1 + self.inner * x * x)
        return grad_y * ((1 + t) / 2 + x * (1 - t * t) * du / 2)


class GeluTanhWithoutTheThree(GeluTanh):
    inner = 0.044715


class GeluTanhByTheExactSlope(GeluTanh):
    """The two forms of gelu differ in the fourth digit."""

    def backward(self, grad_y):
        (x,) = self.saved
        phi = (1 + ERF(x / math.sqrt(2))) / 2
        return grad_y * (phi + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


class Silu(Function):
    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return x * logistic(x)

    def backward(self, grad_y):
        (x,) = self.saved
        s = logistic(x)
        return grad_y * (s + x * s * (1 - s))


class SiluGateConstant(Silu):
    def backward(self, grad_y):
        return grad_y * logistic(self.saved[0])


class SiluOfTheOutput(Silu):
    """y (1 - y) for s (1 - s)."""

    def backward(self, grad_y):
        (x,) = self.saved
        s = logistic(x)
        return grad_y * (s + x * (x * s) * (1 - x * s))


class Mish(Function):
    """y = x tanh(softplus(x))."""

    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return x * np.tanh(np.log1p(np.exp(x)))

    def backward(self, grad_y):
        (x,) = self.saved
        t = np.tanh(np.log1p(np.exp(x)))
        return grad_y * (t + x * (1 - t * t) * logistic(x))


class MishWithoutSoftplusSlope(Mish):
    def backward(self, grad_y):
        (x,) = self.saved
        t = np.tanh(np.log1p(np.exp(x)))
        return grad_y * (t + x * (1 - t * t))


class Hardswish(Function):
    """y = x (x + 3) / 6 between -3 and 3."""

    inputs = (np.array([[-4.0, -2.0, -0.5], [0.7, 2.5, 3.5]]),)

    def forward(self, x):
        self.save(x)
        return x * np.clip(x + 3, 0, 6) / 6

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * np.where(np.abs(x) < 3, (2 * x + 3) / 6, x > 3)


class HardswishGateConstant(Hardswish):
    def backward(self, grad_y):
        return grad_y * np.clip(self.saved[0] + 3, 0, 6) / 6


class HardswishFlatBeyondThree(Hardswish):
    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * np.where(np.abs(x) < 3, (2 * x + 3) / 6, 0)


class Relu6(Function):
    inputs = (np.array([-1.0, 0.5, 5.0, 7.0]),)

    def forward(self, x):
        self.save(x)
        return np.clip(x, 0, 6)

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * ((x > 0) & (x < 6))


class Relu6Unbounded(Relu6):
    def backward(self, grad_y):
        return grad_y * (self.saved[0] > 0)


class LogSigmoid(Function):
    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return -np.log1p(np.exp(-x))

    def backward(self, grad_y):
        return grad_y * logistic(-self.saved[0])


class LogSigmoidForgetsTheSign(LogSigmoid):
    def backward(self, grad_y):
        return grad_y * logistic(self.saved[0])


class Softplus(Function):
    """y = log(1 + exp(3x)) / 3."""

    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return np.log1p(np.exp(3 * x)) / 3

    def backward(self, grad_y):
        return grad_y * logistic(3 * self.saved[0])


class SoftplusTimesBeta(Softplus):
    """The beta of the chain rule without the 1/beta in front."""

    def backward(self, grad_y):
        return 3 * super().backward(grad_y)


class SoftplusOfBetaOne(Softplus):
    def backward(self, grad_y):
        return grad_y * logistic(self.saved[0])


class Softsign(Function):
    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return x / (1 + np.abs(x))

    def backward(self, grad_y):
        return grad_y / (1 + np.abs(self.saved[0])) ** 2


class SoftsignWithoutTheSquare(Softsign):
    def backward(self, grad_y):
        return grad_y / (1 + np.abs(self.saved[0]))


class Softshrink(Function):
    """x moved by 0.5 towards 0."""

    inputs = (np.array([-2.0, -0.3, 0.2, 0.8]),)

    def forward(self, x):
        self.save(x)
        return np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)

    def backward(self, grad_y):
        return grad_y * (np.abs(self.saved[0]) > 0.5)


class SoftshrinkLeaks(Softshrink):
    def backward(self, grad_y):
        return grad_y


class SoftshrinkOneSided(Softshrink):
    def backward(self, grad_y):
        return grad_y * (self.saved[0] > 0.5)


class Hardshrink(Function):
    inputs = (np.array([-2.0, -0.3, 0.2, 0.8]),)

    def forward(self, x):
        self.save(x)
        return x * (np.abs(x) > 0.5)

    def backward(self, grad_y):
        return grad_y * (np.abs(self.saved[0]) > 0.5)


class HardshrinkKeepsTheMiddle(Hardshrink):
    def backward(self, grad_y):
        return grad_y * (np.abs(self.saved[0]) < 0.5)


class Threshold(Function):
    """x above 0.1, the value 7 elsewhere."""

    inputs = (np.array([-2.0, 0.05, 0.2, 0.8]),)

    def forward(self, x):
        self.save(x)
        return np.where(x > 0.1, x, 7.0)

    def backward(self, grad_y):
        return grad_y * (self.saved[0] > 0.1)


class ThresholdAtZero(Threshold):
    def backward(self, grad_y):
        return grad_y * (self.saved[0] > 0)


class Glu(Function):
    """y = a sigmoid(b), the two halves of the channels."""

    shapes = ((2, 4),)

    def forward(self, x):
        self.save(x)
        return x[:, :2] * logistic(x[:, 2:])

    def halves(self, grad_y):
        (x,) = self.saved
        a, s = x[:, :2], logistic(x[:, 2:])
        return grad_y * s, grad_y * a * s * (1 - s)

    def backward(self, grad_y):
        return np.concatenate(self.halves(grad_y), axis=1)


class GluHalvesSwapped(Glu):
    def backward(self, grad_y):
        return np.concatenate(self.halves(grad_y)[::-1], axis=1)


class GluGateConstant(Glu):
    def backward(self, grad_y):
        grad_a, grad_b = self.halves(grad_y)
        return np.concatenate([grad_a, grad_b * 0], axis=1)


class Erf(Function):
    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x)
        return ERF(x)

    def backward(self, grad_y):
        return grad_y * np.exp(-(self.saved[0] ** 2)) * 2 / math.sqrt(math.pi)


class ErfWithoutItsConstant(Erf):
    def backward(self, grad_y):
        return grad_y * np.exp(-(self.saved[0] ** 2))


class Erfinv(Function):
    """By Newton's method: the slope of the inverse is one over the slope, at y."""

    inputs = (np.array([-0.7, 0.1, 0.5]),)

    def forward(self, x):
        y = np.zeros_like(x)
        for _ in range(20):
            y = y - (ERF(y) - x) * math.sqrt(math.pi) / 2 * np.exp(y * y)
        self.save(x, y)
        return y

    def backward(self, grad_y):
        return grad_y * math.sqrt(math.pi) / 2 * np.exp(self.saved[1] ** 2)


class ErfinvAtTheInput(Erfinv):
    """x for y."""

    def backward(self, grad_y):
        return grad_y * math.sqrt(math.pi) / 2 * np.exp(self.saved[0] ** 2)


class RReLU(Function):
    shapes = ((4, 3),)
    a = np.linspace(0.1, 0.5, 12).reshape(4, 3)

    def forward(self, x):
        self.save(x)
        return np.where(x > 0, x, self.a * x)

    def backward(self, grad_y):
        return grad_y * np.where(self.saved[0] > 0, 1, self.a)


class RReLUSlopesDrawnAgain(RReLU):
    def backward(self, grad_y):
        return grad_y * np.where(self.saved[0] > 0, 1, self.a[::-1])
