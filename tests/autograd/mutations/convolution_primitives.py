"""Wrong backwards of convolutions, transposed ones and folds, over the primitives of backend."""

import numpy as np

from minicnn.autograd import Function
from minicnn.backend import ConvGeometry, cpu

COVERS = ()

GROUPED = ConvGeometry.of((1, 4, 4, 3), (4, 2, 2, 2), padding=1, dilation=2, groups=2)


class GroupedDilatedConv(Function):
    shapes = ((1, 4, 4, 3), (4, 2, 2, 2))

    def forward(self, x, w):
        self.save(x, w)
        return cpu.conv_forward(x, w, None, GROUPED)

    def backward(self, grad_y):
        x, w = self.saved
        grad_w = cpu.conv_grad_weight(x, grad_y, GROUPED)
        return cpu.conv_grad_input(grad_y, w, GROUPED), grad_w


class GroupedConvIgnoresDilation(GroupedDilatedConv):
    """Taps side by side in the input's gradient, which is filled up with zeros behind."""

    def backward(self, grad_y):
        dense = ConvGeometry.of((1, 4, 3, 2), (4, 2, 2, 2), padding=1, groups=2)
        grad_x = np.zeros((1, 4, 4, 3))
        grad_x[:, :, :3, :2] = cpu.conv_grad_input(grad_y, self.saved[1], dense)
        return grad_x, super().backward(grad_y)[1]


class GroupedConvAlwaysTheFirstGroup(GroupedDilatedConv):
    """c where g*(C/G) + c is meant: all groups read the same channels."""

    def backward(self, grad_y):
        x, _ = self.saved
        first = x[:, [0, 1, 0, 1]]
        grad_w = cpu.conv_grad_weight(first, grad_y, GROUPED)
        return super().backward(grad_y)[0], grad_w


UP = ConvGeometry.of_transposed((2, 2, 3, 3), (2, 3, 3, 3), None, 2, 1, 1)


class ConvTranspose(Function):
    shapes = ((2, 2, 3, 3), (2, 3, 3, 3))

    def forward(self, x, w):
        self.save(x, w)
        return cpu.conv_grad_input(x, w, UP)

    def backward(self, grad_y):
        x, w = self.saved
        grad_w = cpu.conv_grad_weight(grad_y, x, UP)
        return cpu.conv_forward(grad_y, w, None, UP), grad_w


class ConvTransposeTransposedAgain(ConvTranspose):
    """The kernel flipped in the gradient, as if the gradient were not a plain convolution."""

    def backward(self, grad_y):
        _, w = self.saved
        flipped = cpu.conv_forward(grad_y, w[:, :, ::-1, ::-1], None, UP)
        return flipped, super().backward(grad_y)[1]


class ConvTransposeForgetsTheStride(ConvTranspose):
    """grad_x read at row i in place of row i*S."""

    def backward(self, grad_y):
        _, w = self.saved
        dense = ConvGeometry.of(UP.x_shape, w.shape, padding=1)
        every = cpu.conv_forward(grad_y, w, None, dense)
        return every[:, :, :3, :3], super().backward(grad_y)[1]


class ConvTransposeForgetsWhatWasCutOff(ConvTranspose):
    """Windows from row 0 on, not from row -P."""

    def backward(self, grad_y):
        x, w = self.saved
        moved = ConvGeometry.of(UP.x_shape, w.shape, stride=2, padding=((0, 1), (0, 1)))
        return (
            cpu.conv_forward(grad_y, w, None, moved),
            cpu.conv_grad_weight(grad_y, x, moved),
        )


WINDOWS = ConvGeometry.of_windows((2, 2, 4, 4), 3)


class Unfold(Function):
    shapes = ((2, 2, 4, 4),)

    def forward(self, x):
        return cpu.im2col(x, WINDOWS)

    def backward(self, grad_cols):
        return cpu.col2im(grad_cols, WINDOWS)


class UnfoldLastWindowWins(Unfold):
    """= for +=."""

    def backward(self, grad_cols):
        grad_x, entries = np.zeros((2, 2, 4, 4)), grad_cols.reshape(2, 2, 3, 3, 2, 2)
        for i, j in np.ndindex(2, 2):
            grad_x[:, :, i : i + 3, j : j + 3] = entries[..., i, j]
        return grad_x


class UnfoldAveragesOverlap(Unfold):
    """The inverse of im2col in place of its adjoint."""

    def backward(self, grad_cols):
        count = cpu.col2im(np.ones_like(grad_cols), WINDOWS)
        return super().backward(grad_cols) / count


class ChannelShuffle(Function):
    """Two groups of three channels."""

    shapes = ((2, 6, 2),)

    def forward(self, x):
        return x.reshape(2, 2, 3, 2).swapaxes(1, 2).reshape(2, 6, 2)

    def backward(self, grad_y):
        return grad_y.reshape(2, 3, 2, 2).swapaxes(1, 2).reshape(2, 6, 2)


class ChannelShuffleTwice(ChannelShuffle):
    """Shuffled once more, with the same groups, in place of back."""

    def backward(self, grad_y):
        return self.forward(grad_y)


class PixelShuffle(Function):
    shapes = ((8, 2, 3),)

    def forward(self, x):
        return x.reshape(2, 2, 2, 2, 3).transpose(0, 3, 1, 4, 2).reshape(2, 4, 6)

    def backward(self, grad_y):
        return grad_y.reshape(2, 2, 2, 3, 2).transpose(0, 2, 4, 1, 3).reshape(8, 2, 3)


class PixelShuffleRowsForColumns(PixelShuffle):
    """(p,q) taken as (q,p) on the way back."""

    def backward(self, grad_y):
        return grad_y.reshape(2, 2, 2, 3, 2).transpose(0, 4, 2, 1, 3).reshape(8, 2, 3)
