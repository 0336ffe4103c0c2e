"""Wrong backwards of transposed convolution, unfold (im2col), fold (col2im), and shuffles."""

import numpy as np

from minicnn.autograd import Function

COVERS = ("conv_transpose", "fold", "shuffle")


class ConvTranspose1d(Function):
    """Stride 2, output padding 1: y[n,f,2i+k] += x[n,c,i] * w[c,f,k]; y[..., 7] is not reached."""

    shapes = ((2, 3, 3), (3, 3, 3))

    def forward(self, x, w):
        self.save(x, w)
        y = np.zeros((2, 3, 8))
        for k in range(3):
            y[:, :, k : k + 5 : 2] += np.einsum("nci,cf->nfi", x, w[:, :, k])
        return y

    def backward(self, grad_y):
        return self.grad_x(grad_y), self.grad_w(grad_y)

    def grad_x(self, grad_y):
        _, w = self.saved
        return sum(
            np.einsum("nfi,cf->nci", grad_y[:, :, k : k + 5 : 2], w[:, :, k]) for k in range(3)
        )

    def grad_w(self, grad_y):
        x, _ = self.saved
        at = [grad_y[:, :, k : k + 5 : 2] for k in range(3)]
        return np.stack([np.einsum("nci,nfi->cf", x, g) for g in at], axis=2)


class ConvTransposeFlippedKernel(ConvTranspose1d):
    def grad_x(self, grad_y):
        _, w = self.saved
        return sum(
            np.einsum("nfi,cf->nci", grad_y[:, :, k : k + 5 : 2], w[:, :, 2 - k]) for k in range(3)
        )


class ConvTransposeInAndOutSwapped(ConvTranspose1d):
    """w is (C, F, K) here, not (F, C, K) as in a convolution."""

    def grad_x(self, grad_y):
        _, w = self.saved
        return sum(
            np.einsum("nfi,fc->nci", grad_y[:, :, k : k + 5 : 2], w[:, :, k]) for k in range(3)
        )


class ConvTransposeWeightSwapped(ConvTranspose1d):
    def grad_w(self, grad_y):
        return super().grad_w(grad_y).swapaxes(0, 1)


class ConvTransposeForgetsTheStride(ConvTranspose1d):
    def grad_x(self, grad_y):
        _, w = self.saved
        return sum(np.einsum("nfi,cf->nci", grad_y[:, :, k : k + 3], w[:, :, k]) for k in range(3))


class ConvTransposeOutputPaddingInFront(ConvTranspose1d):
    def backward(self, grad_y):
        shifted = np.roll(grad_y, -1, 2)
        return self.grad_x(shifted), self.grad_w(grad_y)


COUNTS = np.array([1, 2, 3, 3, 2, 1])  # how many windows of 3 each of 6 elements is in


class Unfold(Function):
    """im2col: y[n,k,i] = x[n,i+k]. Its adjoint is col2im, which adds."""

    shapes = ((2, 6),)

    def forward(self, x):
        return np.stack([x[:, k : k + 4] for k in range(3)], axis=1)

    def backward(self, grad_y):
        grad_x = np.zeros((2, 6))
        for k in range(3):
            grad_x[:, k : k + 4] += grad_y[:, k]
        return grad_x


class UnfoldOverwrites(Unfold):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 6))
        for k in range(3):
            grad_x[:, k : k + 4] = grad_y[:, k]
        return grad_x


class UnfoldInverse(Unfold):
    """col2im divided by the counts undoes im2col, and is not its adjoint."""

    def backward(self, grad_y):
        return super().backward(grad_y) / COUNTS


class UnfoldSwapsKernelAndPosition(Unfold):
    def backward(self, grad_y):
        return super().backward(grad_y.swapaxes(1, 2).reshape(2, 3, 4))


class Fold(Function):
    """col2im: y[n,i+k] += x[n,k,i]. Its adjoint is im2col."""

    shapes = ((2, 3, 4),)

    def forward(self, x):
        y = np.zeros((2, 6))
        for k in range(3):
            y[:, k : k + 4] += x[:, k]
        return y

    def backward(self, grad_y):
        return np.stack([grad_y[:, k : k + 4] for k in range(3)], axis=1)


class FoldInverse(Fold):
    def backward(self, grad_y):
        return super().backward(grad_y / COUNTS)


class FoldFirstWindowAlone(Fold):
    """A sum whose gradient goes to one of its terms."""

    def backward(self, grad_y):
        grad_x = np.zeros((2, 3, 4))
        grad_x[:, 0] = grad_y[:, :4]
        grad_x[:, 2, 2:] = grad_y[:, 4:]
        return grad_x


class ChannelShuffle(Function):
    """Two groups of three channels: y's channels are x's 0 3 1 4 2 5."""

    shapes = ((2, 6, 2),)

    def forward(self, x):
        return x.reshape(2, 2, 3, 2).swapaxes(1, 2).reshape(2, 6, 2)

    def backward(self, grad_y):
        return grad_y.reshape(2, 3, 2, 2).swapaxes(1, 2).reshape(2, 6, 2)


class ChannelShuffleShuffledAgain(ChannelShuffle):
    """The same permutation in place of its inverse; with as many groups as channels in each, the
    two are the same, so that a square test does not see it.
    """

    def backward(self, grad_y):
        return self.forward(grad_y)


class PixelShuffle(Function):
    """y[n,c,2h+a,2w+b] = x[n,4c+2a+b,h,w]."""

    shapes = ((1, 8, 2, 3),)

    def forward(self, x):
        return x.reshape(1, 2, 2, 2, 2, 3).transpose(0, 1, 4, 2, 5, 3).reshape(1, 2, 4, 6)

    def backward(self, grad_y):
        parts = grad_y.reshape(1, 2, 2, 2, 3, 2)  # n c h a w b
        return parts.transpose(0, 1, 3, 5, 2, 4).reshape(1, 8, 2, 3)


class PixelShuffleSwapsRowsAndColumns(PixelShuffle):
    def backward(self, grad_y):
        parts = grad_y.reshape(1, 2, 2, 2, 3, 2)
        return parts.transpose(0, 1, 5, 3, 2, 4).reshape(1, 8, 2, 3)


class PixelShuffleChannelsLast(PixelShuffle):
    """The channel of x taken apart as (a, b, c), which is another library's order."""

    def backward(self, grad_y):
        parts = grad_y.reshape(1, 2, 2, 2, 3, 2)
        return parts.transpose(0, 3, 5, 1, 2, 4).reshape(1, 8, 2, 3)
