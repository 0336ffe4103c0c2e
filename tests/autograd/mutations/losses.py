"""Wrong backwards of losses and similarities."""

import numpy as np

from minicnn.autograd import Function
from minicnn.backend import reference

COVERS = ("loss", "entropy", "robust", "similarity", "margin", "likelihood")

LABELS = np.array([1, 0, 3])


class CrossEntropy(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        log_p = reference.log_softmax_forward(x, 1)
        self.save(log_p)
        return -log_p[np.arange(3), LABELS].mean()

    def backward(self, grad_y):
        return grad_y * (np.exp(self.saved[0]) - np.eye(4)[LABELS]) / 3


class CrossEntropyWithoutOneOverN(CrossEntropy):
    def backward(self, grad_y):
        return super().backward(grad_y) * 3


class CrossEntropyWithoutOneHot(CrossEntropy):
    def backward(self, grad_y):
        return grad_y * np.exp(self.saved[0]) / 3


class CrossEntropyIgnoresGradY(CrossEntropy):
    def backward(self, grad_y):
        return super().backward(np.ones_like(grad_y))


class CrossEntropySmoothed(Function):
    """A fifth of each target spread over the four classes."""

    shapes = ((3, 4),)
    targets = 0.8 * np.eye(4)[LABELS] + 0.2 / 4

    def forward(self, x):
        log_p = reference.log_softmax_forward(x, 1)
        self.save(log_p)
        return -(self.targets * log_p).sum() / 3

    def backward(self, grad_y):
        return grad_y * (np.exp(self.saved[0]) - self.targets) / 3


class CrossEntropySmoothingForgotten(CrossEntropySmoothed):
    def backward(self, grad_y):
        return grad_y * (np.exp(self.saved[0]) - np.eye(4)[LABELS]) / 3


class Nll(Function):
    """The weighted mean; the class 1 is to be ignored, so its weight is 0."""

    shapes = ((3, 4),)
    weight = np.array([0.5, 0.0, 1.0, 2.0])[LABELS]

    def forward(self, x):
        return -(self.weight * x[np.arange(3), LABELS]).sum() / self.weight.sum()

    def backward(self, grad_y):
        grad_x = np.zeros((3, 4))
        grad_x[np.arange(3), LABELS] = -grad_y * self.weight / self.weight.sum()
        return grad_x


class NllByTheCount(Nll):
    """Divided by N, where the mean is one by weights."""

    def backward(self, grad_y):
        return super().backward(grad_y) * self.weight.sum() / 3


class NllIgnoredIsCounted(Nll):
    def backward(self, grad_y):
        grad_x = super().backward(grad_y)
        grad_x[0, 1] = -grad_y / self.weight.sum()
        return grad_x


class NllUnweighted(Nll):
    def backward(self, grad_y):
        grad_x = np.zeros((3, 4))
        grad_x[np.arange(3), LABELS] = -grad_y / 2
        return grad_x


class Mse(Function):
    shapes = ((3, 4), (3, 4))

    def forward(self, x, t):
        self.save(x, t)
        return ((x - t) ** 2).mean()

    def backward(self, grad_y):
        x, t = self.saved
        g = grad_y * 2 * (x - t) / x.size
        return g, -g


class MseWithoutTheTwo(Mse):
    def backward(self, grad_y):
        grad_x, grad_t = super().backward(grad_y)
        return grad_x / 2, grad_t / 2


class MseMeanOverTheBatchAlone(Mse):
    def backward(self, grad_y):
        grad_x, grad_t = super().backward(grad_y)
        return grad_x * 4, grad_t * 4


class MseTargetHasNoGradient(Mse):
    def backward(self, grad_y):
        return super().backward(grad_y)[0], np.zeros((3, 4))


class L1(Function):
    shapes = ((3, 4), (3, 4))

    def forward(self, x, t):
        self.save(x, t)
        return np.abs(x - t).sum()

    def backward(self, grad_y):
        x, t = self.saved
        g = grad_y * np.sign(x - t)
        return g, -g


class L1SameSignForBoth(L1):
    def backward(self, grad_y):
        g, _ = super().backward(grad_y)
        return g, g


class L1AsSquare(L1):
    def backward(self, grad_y):
        x, t = self.saved
        return grad_y * (x - t), grad_y * (t - x)


class SmoothL1(Function):
    """beta = 0.5: d^2 / (2 beta) within, |d| - beta / 2 outside. Huber's is beta times that."""

    shapes = ((3, 4),)

    def forward(self, d):
        self.save(d)
        return np.where(np.abs(d) < 0.5, d * d, np.abs(d) - 0.25)

    def backward(self, grad_y):
        (d,) = self.saved
        return grad_y * np.where(np.abs(d) < 0.5, 2 * d, np.sign(d))


class SmoothL1OfBetaOne(SmoothL1):
    """1/beta forgotten in the middle."""

    def backward(self, grad_y):
        (d,) = self.saved
        return grad_y * np.where(np.abs(d) < 0.5, d, np.sign(d))


class SmoothL1AsHuber(SmoothL1):
    def backward(self, grad_y):
        return super().backward(grad_y) / 2


class SmoothL1GrowsOutside(SmoothL1):
    """The quadratic form everywhere."""

    def backward(self, grad_y):
        return grad_y * 2 * self.saved[0]


TARGETS = np.array([[0.0, 1.0, 0.3], [1.0, 0.8, 0.0]])


class Bce(Function):
    inputs = (np.array([[0.2, 0.7, 0.4], [0.9, 0.5, 0.1]]),)

    def forward(self, p):
        self.save(p)
        return -(TARGETS * np.log(p) + (1 - TARGETS) * np.log(1 - p))

    def backward(self, grad_y):
        (p,) = self.saved
        return grad_y * (p - TARGETS) / (p * (1 - p))


class BceHalf(Bce):
    """The term of the negatives forgotten."""

    def backward(self, grad_y):
        return -grad_y * TARGETS / self.saved[0]


class BceOfLogits(Bce):
    """p - t is the gradient with respect to the logit."""

    def backward(self, grad_y):
        return grad_y * (self.saved[0] - TARGETS)


class BceWithLogits(Function):
    """pos_weight 3."""

    shapes = ((2, 3),)

    def forward(self, x):
        self.save(x)
        return 3 * TARGETS * np.log1p(np.exp(-x)) + (1 - TARGETS) * np.log1p(np.exp(x))

    def backward(self, grad_y):
        s = 1 / (1 + np.exp(-self.saved[0]))
        return grad_y * ((1 - TARGETS) * s - 3 * TARGETS * (1 - s))


class BceWithLogitsForgetsPosWeight(BceWithLogits):
    def backward(self, grad_y):
        return grad_y * (1 / (1 + np.exp(-self.saved[0])) - TARGETS)


class KlDiv(Function):
    """The mean over the batch of t (log t - x); x holds logarithms."""

    shapes = ((3, 4), (3, 4))
    positive = True

    def forward(self, x, t):
        self.save(x, t)
        return (t * (np.log(t) - x)).sum() / 3

    def backward(self, grad_y):
        x, t = self.saved
        return -grad_y * t / 3, grad_y * (np.log(t) + 1 - x) / 3


class KlDivByTheElements(KlDiv):
    """reduction="mean" for "batchmean"."""

    def backward(self, grad_y):
        grad_x, grad_t = super().backward(grad_y)
        return grad_x / 4, grad_t / 4


class KlDivTargetWithoutTheOne(KlDiv):
    """The product t log t differentiated in one factor."""

    def backward(self, grad_y):
        x, t = self.saved
        return super().backward(grad_y)[0], grad_y * (np.log(t) - x) / 3


class KlDivExponentiated(KlDiv):
    """exp(x) for the target: the gradient of the wrong way round."""

    def backward(self, grad_y):
        x, _ = self.saved
        return -grad_y * np.exp(x) / 3, super().backward(grad_y)[1]


class CosineSimilarity(Function):
    shapes = ((3, 4), (3, 4))

    def forward(self, a, b):
        self.na = np.sqrt((a * a).sum(1, keepdims=True))
        self.nb = np.sqrt((b * b).sum(1, keepdims=True))
        self.save(a / self.na, b / self.nb)
        return (a / self.na * b / self.nb).sum(1)

    def backward(self, grad_y):
        u, v = self.saved
        cosine, g = (u * v).sum(1, keepdims=True), grad_y[:, None]
        return g * (v - cosine * u) / self.na, g * (u - cosine * v) / self.nb


class CosineSimilarityConstantNorms(CosineSimilarity):
    def backward(self, grad_y):
        u, v = self.saved
        g = grad_y[:, None]
        return g * v / self.na, g * u / self.nb


class Normalize(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.norm = np.sqrt((x * x).sum(1, keepdims=True))
        self.save(x / self.norm)
        return x / self.norm

    def backward(self, grad_y):
        (u,) = self.saved
        return (grad_y - u * (grad_y * u).sum(1, keepdims=True)) / self.norm


class NormalizeConstantNorm(Normalize):
    def backward(self, grad_y):
        return grad_y / self.norm


class MultiMargin(Function):
    shapes = ((4, 3),)
    t = np.array([0, 2, 1, 1])

    def forward(self, x):
        z = 1 - x[np.arange(4), self.t][:, None] + x
        self.save((z > 0) & (np.arange(3) != self.t[:, None]))
        return (z * self.saved[0]).sum(1) / 3

    def backward(self, grad_y):
        (active,) = self.saved
        own = np.eye(3)[self.t] * active.sum(1, keepdims=True)
        return grad_y[:, None] * (active - own) / 3


class MultiMarginOwnScoreOnce(MultiMargin):
    def backward(self, grad_y):
        (active,) = self.saved
        return grad_y[:, None] * (active - np.eye(3)[self.t]) / 3


class GaussianLikelihood(Function):
    shapes, positive = ((4, 3), (4, 3)), True

    def forward(self, d, var):
        self.save(d, var)
        return (np.log(var) + d * d / var) / 2

    def backward(self, grad_y):
        d, var = self.saved
        return grad_y * d / var, grad_y * (1 - d * d / var) / (2 * var)


class GaussianLikelihoodOfTheDeviation(GaussianLikelihood):
    def backward(self, grad_y):
        d, var = self.saved
        return grad_y * d / var, grad_y * (1 - d * d / var) / np.sqrt(var)
