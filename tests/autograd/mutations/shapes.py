"""Wrong backwards of what moves elements: shapes, pieces, indices, embeddings."""

import numpy as np

from minicnn.autograd import Function

COVERS = ("shape", "arrange", "diagonals", "index", "embedding", "split")


class Transpose(Function):
    """Axes (1, 2, 0), a permutation that is not its own inverse, which is (2, 0, 1)."""

    shapes = ((3, 3, 3),)

    def forward(self, x):
        return x.transpose(1, 2, 0)

    def backward(self, grad_y):
        return grad_y.transpose(2, 0, 1)


class TransposeSamePermutation(Transpose):
    """Not the inverse. A permutation of two axes, as in a matrix, cannot show it."""

    def backward(self, grad_y):
        return grad_y.transpose(1, 2, 0)


class TransposeForgotten(Transpose):
    def backward(self, grad_y):
        return grad_y


class Reshape(Function):
    shapes = ((2, 6),)

    def forward(self, x):
        return x.reshape(3, 4)

    def backward(self, grad_y):
        return grad_y.reshape(2, 6)


class ReshapeInColumnOrder(Reshape):
    def backward(self, grad_y):
        return grad_y.reshape(2, 6, order="F")


class Expand(Function):
    shapes = ((3, 1),)

    def forward(self, x):
        return np.broadcast_to(x, (2, 3, 4)).copy()

    def backward(self, grad_y):
        return grad_y.sum((0, 2))[:, None]


class ExpandFirstCopyAlone(Expand):
    def backward(self, grad_y):
        return grad_y[0, :, :1]


class ExpandAveraged(Expand):
    def backward(self, grad_y):
        return grad_y.mean((0, 2))[:, None]


class Repeat(Function):
    """a b c a b c, as tile does."""

    shapes = ((2, 3),)

    def forward(self, x):
        return np.tile(x, (1, 2))

    def backward(self, grad_y):
        return grad_y.reshape(2, 2, 3).sum(1)


class RepeatInterleaved(Repeat):
    """As of a a b b c c."""

    def backward(self, grad_y):
        return grad_y.reshape(2, 3, 2).sum(2)


class Flip(Function):
    shapes = ((2, 3),)

    def forward(self, x):
        return x[:, ::-1].copy()

    def backward(self, grad_y):
        return grad_y[:, ::-1].copy()


class FlipOtherAxis(Flip):
    def backward(self, grad_y):
        return grad_y[::-1].copy()


class Roll(Function):
    shapes = ((2, 5),)

    def forward(self, x):
        return np.roll(x, 2, 1)

    def backward(self, grad_y):
        return np.roll(grad_y, -2, 1)


class RollOn(Roll):
    """In the same direction again."""

    def backward(self, grad_y):
        return np.roll(grad_y, 2, 1)


class Cat(Function):
    shapes = ((2, 3), (2, 3))

    def forward(self, a, b):
        return np.concatenate([a, b], axis=1)

    def backward(self, grad_y):
        return grad_y[:, :3], grad_y[:, 3:]


class CatSwapped(Cat):
    def backward(self, grad_y):
        return grad_y[:, 3:], grad_y[:, :3]


class CatInterleaved(Cat):
    def backward(self, grad_y):
        return grad_y[:, ::2], grad_y[:, 1::2]


class Narrow(Function):
    shapes = ((2, 6),)

    def forward(self, x):
        return x[:, 2:5].copy()

    def backward(self, grad_y):
        return np.pad(grad_y, [(0, 0), (2, 1)])


class NarrowOffByOne(Narrow):
    def backward(self, grad_y):
        return np.pad(grad_y, [(0, 0), (1, 2)])


class Tril(Function):
    """With the first diagonal above."""

    shapes = ((4, 4),)

    def forward(self, x):
        return np.tril(x, 1)

    def backward(self, grad_y):
        return np.tril(grad_y, 1)


class TrilForgetsTheDiagonal(Tril):
    def backward(self, grad_y):
        return np.tril(grad_y)


class TrilPassesAll(Tril):
    def backward(self, grad_y):
        return grad_y


AT = np.array([[0, 2, 2, 1], [3, 3, 0, 3]])  # some elements are read more than once


class Gather(Function):
    """y[n,i] = x[n, at[n,i]]."""

    shapes = ((2, 4),)

    def forward(self, x):
        return np.take_along_axis(x, AT, 1)

    def backward(self, grad_y):
        grad_x = np.zeros((2, 4))
        np.add.at(grad_x, (np.arange(2)[:, None], AT), grad_y)
        return grad_x


class GatherWithoutTheAdd(Gather):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 4))
        np.put_along_axis(grad_x, AT, grad_y, 1)
        return grad_x


class GatherOfTheGradient(Gather):
    """The same gather in place of its adjoint."""

    def backward(self, grad_y):
        return np.take_along_axis(grad_y, AT, 1)


class ScatterAdd(Function):
    """y = x, and y[n, at[n,i]] += s[n,i]."""

    shapes = ((2, 4), (2, 4))

    def forward(self, x, s):
        y = x.copy()
        np.add.at(y, (np.arange(2)[:, None], AT), s)
        return y

    def backward(self, grad_y):
        return grad_y, np.take_along_axis(grad_y, AT, 1)


class ScatterAddReplaces(ScatterAdd):
    """As scatter, where what was in x is lost."""

    def backward(self, grad_y):
        grad_x, grad_s = super().backward(grad_y)
        grad_x = grad_x.copy()
        np.put_along_axis(grad_x, AT, 0, 1)
        return grad_x, grad_s


class ScatterAddUnmoved(ScatterAdd):
    def backward(self, grad_y):
        return grad_y, grad_y


class MaskedFill(Function):
    shapes = ((2, 3),)
    mask = np.array([[True, False, False], [False, True, True]])

    def forward(self, x):
        return np.where(self.mask, -9.0, x)

    def backward(self, grad_y):
        return np.where(self.mask, 0, grad_y)


class MaskedFillLeaks(MaskedFill):
    def backward(self, grad_y):
        return grad_y


class MaskedFillOfTheOthers(MaskedFill):
    def backward(self, grad_y):
        return np.where(self.mask, grad_y, 0)


WORDS = np.array([3, 0, 3, 1])


class Embedding(Function):
    """y[i] = w[words[i]]; a word that comes twice gets both gradients."""

    shapes = ((4, 3),)

    def forward(self, w):
        return w[WORDS]

    def backward(self, grad_y):
        grad_w = np.zeros((4, 3))
        np.add.at(grad_w, WORDS, grad_y)
        return grad_w


class EmbeddingLastWordWins(Embedding):
    def backward(self, grad_y):
        grad_w = np.zeros((4, 3))
        grad_w[WORDS] += grad_y  # NumPy adds once for an index that comes twice
        return grad_w


class EmbeddingByFrequency(Embedding):
    """Divided by how often a word comes, as scale_grad_by_freq does, though it was not asked."""

    def backward(self, grad_y):
        counts = np.maximum(np.bincount(WORDS, minlength=4), 1)
        return super().backward(grad_y) / counts[:, None]
