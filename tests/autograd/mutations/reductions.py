"""Wrong backwards of reductions, cumulative ones, and sorting."""

import numpy as np

from minicnn.autograd import Function

COVERS = ("reduce", "cumulative", "order")


class MaxOverRows(Function):
    shapes = ((4, 3),)

    def forward(self, x):
        self.save(x.argmax(1))
        return x.max(1)

    def backward(self, grad_y):
        return grad_y[:, None] * np.eye(3)[self.saved[0]]


class MaxSpreadOverAll(MaxOverRows):
    def backward(self, grad_y):
        return np.repeat(grad_y[:, None], 3, 1) / 3


class MaxTiesByValue(MaxOverRows):
    """All that equal the largest value of the whole array, in place of each row's."""

    def backward(self, grad_y):
        hits = np.eye(3)[self.saved[0]]
        return grad_y.sum() * hits / 4


class Sum(Function):
    """Over rows of a square."""

    shapes = ((3, 3),)

    def forward(self, x):
        return x.sum(1)

    def backward(self, grad_y):
        return np.repeat(grad_y[:, None], 3, axis=1)


class SumSpreadAlongTheWrongAxis(Sum):
    def backward(self, grad_y):
        return np.repeat(grad_y[None], 3, axis=0)


class SumTheGradientToo(Sum):
    def backward(self, grad_y):
        return np.full((3, 3), grad_y.sum())


class Mean(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        return x.mean(1)

    def backward(self, grad_y):
        return np.repeat(grad_y[:, None], 4, axis=1) / 4


class MeanWithoutOneOverN(Mean):
    def backward(self, grad_y):
        return super().backward(grad_y) * 4


class MeanOverAllElements(Mean):
    def backward(self, grad_y):
        return super().backward(grad_y) / 3


class Var(Function):
    """Unbiased: over N - 1 = 3."""

    shapes = ((3, 4),)
    over = 3

    def forward(self, x):
        self.u = x - x.mean(1, keepdims=True)
        self.save(x)
        return (self.u**2).sum(1) / 3

    def backward(self, grad_y):
        return grad_y[:, None] * 2 * self.u / self.over


class VarBiased(Var):
    over = 4


class VarAroundZero(Var):
    """The mean forgotten."""

    def backward(self, grad_y):
        return grad_y[:, None] * 2 * self.saved[0] / 3


class Std(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.u = x - x.mean(1, keepdims=True)
        self.save(np.sqrt((self.u**2).sum(1) / 3))
        return self.saved[0]

    def backward(self, grad_y):
        return (grad_y / self.saved[0])[:, None] * self.u / 3


class StdByTheVariance(Std):
    """1 / (2 std) of the root forgotten."""

    def backward(self, grad_y):
        return grad_y[:, None] * 2 * self.u / 3


class Prod(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.save(x)
        return x.prod(1)

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y[:, None] * x.prod(1, keepdims=True) / x


class ProdOfAllFactors(Prod):
    """The factor itself left in."""

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y[:, None] * np.repeat(x.prod(1, keepdims=True), 4, 1)


class LogSumExp(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.save(x)
        return np.log(np.exp(x).sum(1))

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y[:, None] * np.exp(x) / np.exp(x).sum(1, keepdims=True)


class LogSumExpWithoutTheQuotient(LogSumExp):
    def backward(self, grad_y):
        return grad_y[:, None] * np.exp(self.saved[0])


class LogSumExpAsSum(LogSumExp):
    def backward(self, grad_y):
        return np.repeat(grad_y[:, None], 4, 1)


class Norm(Function):
    shapes = ((3, 4),)

    def forward(self, x):
        self.save(x)
        return np.sqrt((x * x).sum(1))

    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y[:, None] * x / np.sqrt((x * x).sum(1, keepdims=True))


class NormOfTheSquare(Norm):
    def backward(self, grad_y):
        return grad_y[:, None] * 2 * self.saved[0]


class NormOfTheWholeMatrix(Norm):
    def backward(self, grad_y):
        (x,) = self.saved
        return grad_y[:, None] * x / np.sqrt((x * x).sum())


class Cumsum(Function):
    """y[i] = x[0] + ... + x[i]; x[j] is in all y[i] from i = j on: summed from the end."""

    shapes = ((2, 5),)

    def forward(self, x):
        return x.cumsum(1)

    def backward(self, grad_y):
        return grad_y[:, ::-1].cumsum(1)[:, ::-1]


class CumsumFromTheFront(Cumsum):
    def backward(self, grad_y):
        return grad_y.cumsum(1)


class CumsumNotTurnedBack(Cumsum):
    def backward(self, grad_y):
        return grad_y[:, ::-1].cumsum(1)


class Sort(Function):
    shapes = ((2, 5),)
    distinct = True

    def forward(self, x):
        self.at = x.argsort(1)
        return np.take_along_axis(x, self.at, 1)

    def backward(self, grad_y):
        grad_x = np.zeros_like(grad_y)
        np.put_along_axis(grad_x, self.at, grad_y, 1)
        return grad_x


class SortPermutedAgain(Sort):
    """The permutation in place of its inverse."""

    def backward(self, grad_y):
        return np.take_along_axis(grad_y, self.at, 1)


class SortUnpermuted(Sort):
    def backward(self, grad_y):
        return grad_y


class Topk(Function):
    """The two largest of five."""

    shapes = ((2, 5),)
    distinct = True

    def forward(self, x):
        self.at = (-x).argsort(1)[:, :2]
        return np.take_along_axis(x, self.at, 1)

    def backward(self, grad_y):
        grad_x = np.zeros((2, 5))
        np.put_along_axis(grad_x, self.at, grad_y, 1)
        return grad_x


class TopkInTheFirstPlaces(Topk):
    def backward(self, grad_y):
        return np.pad(grad_y, [(0, 0), (0, 3)])
