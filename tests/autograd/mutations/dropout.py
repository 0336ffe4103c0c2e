"""Wrong backwards of dropout."""

import numpy as np

from minicnn.autograd import Function

COVERS = ("dropout",)


class Dropout(Function):
    shapes = ((4, 3),)
    mask = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 0]])

    def forward(self, x):
        return x * self.mask * 2

    def backward(self, grad_y):
        return grad_y * self.mask * 2


class DropoutUnscaled(Dropout):
    def backward(self, grad_y):
        return grad_y * self.mask


class DropoutOtherMask(Dropout):
    def backward(self, grad_y):
        return grad_y * self.mask[::-1] * 2


class DropoutAllPass(Dropout):
    """Evaluation's backward."""

    def backward(self, grad_y):
        return grad_y


class DropoutByGenerator(Function):
    """The mask is not kept: both sides draw it from a generator with the same seed."""

    shapes = ((4, 3),)

    def forward(self, x):
        return x * self.mask(7) / 0.75

    def mask(self, seed):
        return np.random.default_rng(seed).random((4, 3)) < 0.75

    def backward(self, grad_y):
        return grad_y * self.mask(7) / 0.75


class DropoutFreshMask(DropoutByGenerator):
    """The generator has gone on since the forward."""

    def backward(self, grad_y):
        return grad_y * self.mask(8) / 0.75


class DropoutOfAnotherShare(DropoutByGenerator):
    """1 - p and p confused in the scale."""

    def backward(self, grad_y):
        return grad_y * self.mask(7) / 0.25


GENERATOR = np.random.default_rng(0)


class DropoutMaskOfTheMoment(DropoutByGenerator):
    """A new mask at every backward: two backwards of one forward differ."""

    def backward(self, grad_y):
        return grad_y * (GENERATOR.random((4, 3)) < 0.75) / 0.75


class Dropout2d(Function):
    """Whole channels of (N, C, L) are dropped."""

    shapes = ((2, 3, 4),)
    mask = np.array([[1, 0, 1], [0, 1, 1]])[:, :, None]

    def forward(self, x):
        return x * self.mask * 1.5

    def backward(self, grad_y):
        return grad_y * self.mask * 1.5


class Dropout2dSameForAllSamples(Dropout2d):
    def backward(self, grad_y):
        return grad_y * self.mask[:1] * 1.5


class Dropout2dElementwise(Dropout2d):
    def backward(self, grad_y):
        return grad_y * (np.arange(24).reshape(2, 3, 4) % 3 > 0) * 1.5


class AlphaDropout(Function):
    """What is dropped becomes -1.7581; then a x + b keeps mean and variance."""

    shapes = ((4, 3),)
    mask = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 0]])
    a, b = 0.87, 0.31

    def forward(self, x):
        return self.a * np.where(self.mask, x, -1.7581) + self.b

    def backward(self, grad_y):
        return grad_y * self.a * self.mask


class AlphaDropoutWithoutItsScale(AlphaDropout):
    def backward(self, grad_y):
        return grad_y * self.mask
