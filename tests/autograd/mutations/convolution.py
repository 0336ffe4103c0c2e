"""Wrong backwards of convolutions in one, two and three dimensions."""

import numpy as np

from minicnn.autograd import Function
from minicnn.backend import ConvGeometry, cpu

COVERS = ("conv",)


GEOMETRY = ConvGeometry.of((2, 2, 5, 5), (3, 2, 3, 3), (3,), stride=2, padding=1)


class Conv(Function):
    shapes = ((2, 2, 5, 5), (3, 2, 3, 3), (3,))

    def forward(self, x, w, b):
        self.save(x, w)
        return cpu.conv_forward(x, w, b, GEOMETRY)

    def backward(self, grad_y):
        x, w = self.saved
        return (
            cpu.conv_grad_input(grad_y, w, GEOMETRY),
            cpu.conv_grad_weight(x, grad_y, GEOMETRY),
            grad_y.sum((0, 2, 3)),
        )


class ConvZeroedInputGradient(Conv):
    def backward(self, grad_y):
        grad_x, grad_w, grad_b = super().backward(grad_y)
        return grad_x * 0, grad_w, grad_b


class ConvUnflippedKernel(Conv):
    def backward(self, grad_y):
        _, w = self.saved
        flipped = cpu.conv_grad_input(grad_y, w[:, :, ::-1, ::-1], GEOMETRY)
        return flipped, *super().backward(grad_y)[1:]


class ConvTransposedWeightGradient(Conv):
    def backward(self, grad_y):
        grad_x, grad_w, grad_b = super().backward(grad_y)
        return grad_x, grad_w.swapaxes(2, 3), grad_b


class ConvIgnoresGradY(Conv):
    def backward(self, grad_y):
        return super().backward(np.ones_like(grad_y))


class ConvBiasGradientIsAMean(Conv):
    def backward(self, grad_y):
        grad_x, grad_w, _ = super().backward(grad_y)
        return grad_x, grad_w, grad_y.mean((0, 2, 3))


class ConvForgetsTheStride(Conv):
    """Places grad_y at row i instead of row i*S."""

    def backward(self, grad_y):
        dense = ConvGeometry.of((2, 2, 3, 3), (3, 2, 3, 3), stride=1, padding=1)
        grad_x = np.zeros((2, 2, 5, 5))
        grad_x[:, :, :3, :3] = cpu.conv_grad_input(grad_y, self.saved[1], dense)
        return grad_x, *super().backward(grad_y)[1:]


class ConvLeaksIntoThePadding(Conv):
    """The gradient of the padding is wrapped round onto the opposite border."""

    def backward(self, grad_y):
        padded = ConvGeometry.of((2, 2, 7, 7), (3, 2, 3, 3), stride=2)
        full = cpu.conv_grad_input(grad_y, self.saved[1], padded)
        grad_x = full[:, :, 1:6, 1:6].copy()
        grad_x[:, :, -1] += full[:, :, 0, 1:6]
        return grad_x, *super().backward(grad_y)[1:]


class ConvColumnsOverwrite(Conv):
    """col2im with = for +=: of overlapping windows only the last one counts."""

    def backward(self, grad_y):
        w = self.saved[1]
        grad_x = np.zeros((2, 2, 7, 7))
        for n, f, i, j in np.ndindex(*grad_y.shape):
            grad_x[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] = grad_y[n, f, i, j] * w[f]
        return grad_x[:, :, 1:6, 1:6], *super().backward(grad_y)[1:]


class ConvFirstSampleOnly(Conv):
    def backward(self, grad_y):
        x, _ = self.saved
        g = grad_y.copy()
        g[1:] = 0
        grad_x, _, grad_b = super().backward(grad_y)
        return grad_x, cpu.conv_grad_weight(x, g, GEOMETRY), grad_b


class Conv1d(Function):
    """Dilation 2: y[n,f,i] = sum over c, k of w[f,c,k] * x[n,c,i+2k]."""

    shapes = ((2, 2, 7), (3, 2, 3))

    def forward(self, x, w):
        self.save(x, w)
        return sum(
            np.einsum("ncl,fc->nfl", x[:, :, 2 * k : 2 * k + 3], w[:, :, k]) for k in range(3)
        )

    def backward(self, grad_y):
        return self.grad_x(grad_y), self.grad_w(grad_y)

    def grad_x(self, grad_y, dilation=2):
        x, w = self.saved
        grad_x = np.zeros_like(x)
        for k in range(3):
            grad_x[:, :, dilation * k : dilation * k + 3] += np.einsum(
                "nfl,fc->ncl", grad_y, w[:, :, k]
            )
        return grad_x

    def grad_w(self, grad_y, dilation=2):
        x, _ = self.saved
        at = [x[:, :, dilation * k : dilation * k + 3] for k in range(3)]
        return np.stack([np.einsum("nfl,ncl->fc", grad_y, part) for part in at], axis=2)


class Conv1dForgetsTheDilation(Conv1d):
    def backward(self, grad_y):
        return self.grad_x(grad_y, dilation=1), self.grad_w(grad_y)


class Conv1dWeightForgetsTheDilation(Conv1d):
    def backward(self, grad_y):
        return self.grad_x(grad_y), self.grad_w(grad_y, dilation=1)


class Conv1dMeanOverTheBatch(Conv1d):
    def grad_w(self, grad_y, dilation=2):
        return super().grad_w(grad_y) / 2


class ConvLeftover(Function):
    """Stride 3 over 7 elements, kernel 2: element 2, 5 and the last one are not read."""

    shapes = ((2, 7), (2,))

    def forward(self, x, w):
        self.save(x, w)
        return x[:, 0:5:3] * w[0] + x[:, 1:6:3] * w[1]

    def backward(self, grad_y):
        return self.grad_x(grad_y, 0), self.grad_w(grad_y)

    def grad_x(self, grad_y, start):
        x, w = self.saved
        grad_x = np.zeros_like(x)
        grad_x[:, start : start + 5 : 3] = grad_y * w[0]
        grad_x[:, start + 1 : start + 6 : 3] = grad_y * w[1]
        return grad_x

    def grad_w(self, grad_y):
        x, _ = self.saved
        return np.array([(grad_y * x[:, 0:5:3]).sum(), (grad_y * x[:, 1:6:3]).sum()])


class ConvLeftoverAtTheFront(ConvLeftover):
    """Aligned with the end of x, where the windows are aligned with its beginning."""

    def backward(self, grad_y):
        return self.grad_x(grad_y, 1), self.grad_w(grad_y)


class ConvLeftoverStretched(ConvLeftover):
    """As if the windows were spread evenly over x."""

    def backward(self, grad_y):
        x, w = self.saved
        grad_x = np.zeros_like(x)
        grad_x[:, [0, 5]], grad_x[:, [1, 6]] = grad_y * w[0], grad_y * w[1]
        return grad_x, self.grad_w(grad_y)


class Depthwise(Function):
    """A kernel for each channel: y[n,c,i] = sum over k of w[c,k] * x[n,c,i+k]."""

    shapes = ((2, 3, 5), (3, 3))

    def forward(self, x, w):
        self.save(x, w)
        return sum(x[:, :, k : k + 3] * w[:, k, None] for k in range(3))

    def backward(self, grad_y):
        x, w = self.saved
        return self.grad_x(grad_y, w), self.grad_w(grad_y, x)

    def grad_x(self, grad_y, w):
        grad_x = np.zeros((2, 3, 5))
        for k in range(3):
            grad_x[:, :, k : k + 3] += grad_y * w[:, k, None]
        return grad_x

    def grad_w(self, grad_y, x):
        return np.stack([(grad_y * x[:, :, k : k + 3]).sum((0, 2)) for k in range(3)], axis=1)


class DepthwiseOfAnotherChannel(Depthwise):
    """The kernels of the groups in another order."""

    def backward(self, grad_y):
        x, w = self.saved
        return self.grad_x(grad_y, np.roll(w, 1, 0)), self.grad_w(grad_y, x)


class DepthwiseMixesChannels(Depthwise):
    """As a convolution without groups: every channel's gradient is the sum over all."""

    def backward(self, grad_y):
        x, w = self.saved
        every = self.grad_x(grad_y, w).sum(1, keepdims=True)
        return np.repeat(every, 3, 1), self.grad_w(grad_y, x)


class Conv3d(Function):
    """Stride 2, one channel in and out: windows of 2 x 2 x 2 overlap nowhere, of 3 in planes."""

    shapes = ((2, 5, 5, 5), (3, 3, 3))

    def forward(self, x, w):
        self.save(x, w)
        return sum(self.part(x, offset) * w[offset] for offset in np.ndindex(3, 3, 3))

    def part(self, x, offset):
        a, b, c = offset
        return x[:, a : a + 3 : 2, b : b + 3 : 2, c : c + 3 : 2]

    def backward(self, grad_y):
        return self.grad_x(grad_y), self.grad_w(grad_y)

    def grad_x(self, grad_y):
        x, w = self.saved
        grad_x = np.zeros_like(x)
        for offset in np.ndindex(3, 3, 3):
            self.part(grad_x, offset)[...] += grad_y * w[offset]
        return grad_x

    def grad_w(self, grad_y):
        x, _ = self.saved
        found = [(grad_y * self.part(x, offset)).sum() for offset in np.ndindex(3, 3, 3)]
        return np.array(found).reshape(3, 3, 3)


class Conv3dColumnsOverwrite(Conv3d):
    def grad_x(self, grad_y):
        x, w = self.saved
        grad_x = np.zeros_like(x)
        for offset in np.ndindex(3, 3, 3):
            self.part(grad_x, offset)[...] = grad_y * w[offset]
        return grad_x


class Conv3dSwapsDepthAndWidth(Conv3d):
    def grad_w(self, grad_y):
        return super().grad_w(grad_y).transpose(2, 1, 0)


class Conv3dFlipsTwoAxesOfThree(Conv3d):
    """A full convolution with a kernel that is turned in height and width, but not in depth."""

    def grad_x(self, grad_y):
        x, w = self.saved
        grad_x = np.zeros_like(x)
        for offset in np.ndindex(3, 3, 3):
            self.part(grad_x, offset)[...] += grad_y * w[2 - offset[0], offset[1], offset[2]]
        return grad_x
