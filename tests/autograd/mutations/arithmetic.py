"""Wrong backwards of arithmetic, element by element and broadcast."""

import numpy as np

from minicnn.autograd import Function

COVERS = ("arithmetic", "operands", "exponential", "trigonometry", "rounding", "compare", "choice")


class Mul(Function):
    shapes = ((3, 4), (4,))

    def forward(self, a, b):
        self.save(a, b)
        return a * b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y * b, (grad_y * a).sum(0)


class MulBroadcastAveraged(Mul):
    def backward(self, grad_y):
        grad_a, grad_b = super().backward(grad_y)
        return grad_a, grad_b / 3


class MulForgetsTheOtherFactor(Mul):
    def backward(self, grad_y):
        return grad_y, super().backward(grad_y)[1]


class MulStaleSavedArray(Mul):
    """What was saved is overwritten by later work in the same scratch."""

    def forward(self, a, b):
        scratch = b.copy()
        self.save(a, scratch)
        y = a * b
        scratch[...] = 1.0
        return y


class Div(Function):
    shapes = ((3, 4), (3, 4))
    positive = True

    def forward(self, a, b):
        self.save(a, b)
        return a / b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y / b, -grad_y * a / (b * b)


class DivWrongSign(Div):
    def backward(self, grad_y):
        grad_a, grad_b = super().backward(grad_y)
        return grad_a, -grad_b


class DivByTheDivisorOnce(Div):
    """b for b^2."""

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y / b, -grad_y * a / b


class Add(Function):
    """(3, 1) + (4,): both are broadcast, to (3, 4)."""

    shapes = ((3, 1), (4,))

    def forward(self, a, b):
        return a + b

    def backward(self, grad_y):
        return grad_y.sum(1, keepdims=True), grad_y.sum(0)


class AddBroadcastNotSummed(Add):
    """The first element in place of the sum."""

    def backward(self, grad_y):
        return grad_y[:, :1], grad_y[0]


class AddBroadcastAveraged(Add):
    def backward(self, grad_y):
        return grad_y.mean(1, keepdims=True), grad_y.mean(0)


class AddSquareOtherAxis(Function):
    """(3, 3) + (3,): with equal axes a sum over the wrong one has the right shape."""

    shapes = ((3, 3), (3,))

    def forward(self, a, b):
        return a + b

    def backward(self, grad_y):
        return grad_y, grad_y.sum(0)


class AddSummedOverTheWrongAxis(AddSquareOtherAxis):
    def backward(self, grad_y):
        return grad_y, grad_y.sum(1)


class Sub(Function):
    """a - 3 b."""

    shapes = ((3, 4), (3, 4))

    def forward(self, a, b):
        return a - 3 * b

    def backward(self, grad_y):
        return grad_y, -3 * grad_y


class SubForgetsAlpha(Sub):
    def backward(self, grad_y):
        return grad_y, -grad_y


class SubForgetsTheSign(Sub):
    def backward(self, grad_y):
        return grad_y, 3 * grad_y


class Pow(Function):
    shapes = ((3, 4), (3, 4))
    positive = True

    def forward(self, a, b):
        self.save(a, b)
        return a**b

    def backward(self, grad_y):
        a, b = self.saved
        return grad_y * b * a ** (b - 1), grad_y * a**b * np.log(a)


class PowWithoutTheLogarithm(Pow):
    def backward(self, grad_y):
        a, b = self.saved
        return super().backward(grad_y)[0], grad_y * a**b


class PowExponentNotReduced(Pow):
    def backward(self, grad_y):
        a, b = self.saved
        return grad_y * b * a**b, super().backward(grad_y)[1]


class Sqrt(Function):
    shapes = ((3, 4),)
    positive = True

    def forward(self, x):
        self.save(np.sqrt(x))
        return np.sqrt(x)

    def backward(self, grad_y):
        return grad_y / (2 * self.saved[0])


class SqrtWithoutTheTwo(Sqrt):
    def backward(self, grad_y):
        return grad_y / self.saved[0]


class Rsqrt(Function):
    shapes = ((3, 4),)
    positive = True

    def forward(self, x):
        self.save(x)
        return x**-0.5

    def backward(self, grad_y):
        return -0.5 * grad_y * self.saved[0] ** -1.5


class RsqrtOfTheFirstPower(Rsqrt):
    def backward(self, grad_y):
        return -0.5 * grad_y * self.saved[0] ** -0.5


class Exp(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.save(x)
        return np.exp(x)

    def backward(self, grad_y):
        return grad_y * np.exp(self.saved[0])


class ExpOfTheInput(Exp):
    """x for y: the wrong array saved."""

    def backward(self, grad_y):
        return grad_y * self.saved[0]


class Log1p(Function):
    shapes = ((3, 4),)
    positive = True

    def forward(self, x):
        self.save(x)
        return np.log1p(x)

    def backward(self, grad_y):
        return grad_y / (1 + self.saved[0])


class Log1pWithoutTheOne(Log1p):
    def backward(self, grad_y):
        return grad_y / self.saved[0]


class Cos(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.save(x)
        return np.cos(x)

    def backward(self, grad_y):
        return -grad_y * np.sin(self.saved[0])


class CosWrongSign(Cos):
    def backward(self, grad_y):
        return grad_y * np.sin(self.saved[0])


class Abs(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.save(x)
        return np.abs(x)

    def backward(self, grad_y):
        return grad_y * np.sign(self.saved[0])


class AbsOfTheGradient(Abs):
    def backward(self, grad_y):
        return np.abs(grad_y)


class AbsWithoutTheSign(Abs):
    def backward(self, grad_y):
        return grad_y


class Maximum(Function):
    shapes = ((3, 4), (3, 4))

    def forward(self, a, b):
        self.save(a > b)
        return np.maximum(a, b)

    def backward(self, grad_y):
        (first,) = self.saved
        return grad_y * first, grad_y * ~first


class MaximumToBoth(Maximum):
    def backward(self, grad_y):
        return grad_y, grad_y


class MaximumHalves(Maximum):
    """As at a tie, where there is none."""

    def backward(self, grad_y):
        return grad_y / 2, grad_y / 2


class MaximumAsMinimum(Maximum):
    def backward(self, grad_y):
        return super().backward(grad_y)[::-1]


class Clamp(Function):
    """To -0.5 ... 0.8."""

    inputs = (np.array([-2.0, -0.4, 0.1, 0.7, 0.9]),)

    def forward(self, x):
        self.save(x)
        return np.clip(x, -0.5, 0.8)

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y * ((x > -0.5) & (x < 0.8))


class ClampPassesAll(Clamp):
    """The straight-through estimator."""

    def backward(self, grad_y):
        return grad_y


class ClampFromBelowAlone(Clamp):
    def backward(self, grad_y):
        return grad_y * (self.saved[0] > -0.5)


CONDITION = np.array([[True, False, True], [False, False, True]])


class Where(Function):
    """The second one is broadcast."""

    shapes = ((2, 3), (3,))

    def forward(self, a, b):
        return np.where(CONDITION, a, b)

    def backward(self, grad_y):
        return grad_y * CONDITION, (grad_y * ~CONDITION).sum(0)


class WhereSwapped(Where):
    def backward(self, grad_y):
        return grad_y * ~CONDITION, (grad_y * CONDITION).sum(0)


class WhereWithoutTheCondition(Where):
    def backward(self, grad_y):
        return grad_y * CONDITION, grad_y.sum(0)
