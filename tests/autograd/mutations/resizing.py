"""Wrong backwards of interpolation and padding, along one axis."""

import numpy as np

from minicnn.autograd import Function

COVERS = ("resize", "pad")


class Nearest(Function):
    """4 elements from 7: y[i] = x[at[i]]; and 7 from 4, where elements are read twice."""

    shapes = ((2, 4),)
    at = np.arange(7) * 4 // 7

    def forward(self, x):
        return x[:, self.at]

    def backward(self, grad_y):
        grad_x = np.zeros((2, 4))
        np.add.at(grad_x, (slice(None), self.at), grad_y)
        return grad_x


class NearestWithoutTheAdd(Nearest):
    """An = for a +=: of several readers only the last one counts."""

    def backward(self, grad_y):
        grad_x = np.zeros((2, 4))
        grad_x[:, self.at] = grad_y
        return grad_x


class NearestExactInItsPlace(Nearest):
    """The rule of the centres, (i + 1/2) * scale, in the backward."""

    def backward(self, grad_y):
        self.at = ((np.arange(7) + 0.5) * 4 / 7).astype(int)
        return super().backward(grad_y)


class NearestMean(Nearest):
    def backward(self, grad_y):
        return super().backward(grad_y) / np.bincount(self.at)


def linear_matrix(size, out, align_corners):
    """R with y = R x: two weights a row, the last column taking what lies beyond the border."""
    rows = np.zeros((out, size))
    for i in range(out):
        scale = (size - 1) / (out - 1) if align_corners else size / out
        at = i * scale if align_corners else max((i + 0.5) * scale - 0.5, 0)
        low = int(at)
        rows[i, low] += 1 - (at - low)
        rows[i, min(low + 1, size - 1)] += at - low
    return rows


class Linear1d(Function):
    """y = R x, so grad_x = R^T grad_y."""

    shapes = ((2, 4),)
    rows = linear_matrix(4, 7, align_corners=False)

    def forward(self, x):
        return x @ self.rows.T

    def backward(self, grad_y):
        return grad_y @ self.rows


class LinearCornersMistaken(Linear1d):
    def backward(self, grad_y):
        return grad_y @ linear_matrix(4, 7, align_corners=True)


class LinearBorderLost(Linear1d):
    """What was read beyond the border, clamped to it, is not given back."""

    def backward(self, grad_y):
        rows = self.rows.copy()
        rows[-1, -1] = rows[0, 0] = 0.5
        return grad_y @ rows


class LinearAsInterpolation(Linear1d):
    """The gradient resized to the input's size: a resize is not its own adjoint."""

    def backward(self, grad_y):
        return grad_y @ linear_matrix(7, 4, align_corners=False).T


class LinearNearestWeights(Linear1d):
    def backward(self, grad_y):
        return grad_y @ np.eye(4)[self.rows.argmax(1)]


def cubic_matrix(size, out, a=-0.75):
    """R of Keys' cubic, whose four weights are read with indices clamped to the border."""

    def weight(t):
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * (t**3 - 5 * t**2 + 8 * t - 4)

    rows = np.zeros((out, size))
    for i in range(out):
        at = (i + 0.5) * size / out - 0.5
        for k in range(-1, 3):
            j = int(np.floor(at)) + k
            rows[i, min(max(j, 0), size - 1)] += weight(abs(at - j))
    return rows


class Cubic(Function):
    shapes = ((2, 4),)
    rows = cubic_matrix(4, 7)

    def forward(self, x):
        return x @ self.rows.T

    def backward(self, grad_y):
        return grad_y @ self.rows


class CubicOfAnotherCoefficient(Cubic):
    """a = -0.5, as other libraries have it."""

    def backward(self, grad_y):
        return grad_y @ cubic_matrix(4, 7, a=-0.5)


class CubicByLinearWeights(Cubic):
    def backward(self, grad_y):
        return grad_y @ linear_matrix(4, 7, align_corners=False)


class Pad(Function):
    """y = x[at]; -1 in `at` is a zero."""

    shapes = ((2, 4),)
    at = np.array([-1, -1, 0, 1, 2, 3, -1])

    def forward(self, x):
        return np.where(self.at < 0, 0, x[:, self.at])

    def backward(self, grad_y):
        inside = self.at >= 0
        grad_x = np.zeros((2, 4))
        np.add.at(grad_x, (slice(None), self.at[inside]), grad_y[:, inside])
        return grad_x


class PadShifted(Pad):
    """The other side's padding cut off."""

    def backward(self, grad_y):
        return grad_y[:, 1:5]


class PadLeaks(Pad):
    def backward(self, grad_y):
        grad_x = super().backward(grad_y)
        grad_x[:, 3] += grad_y[:, 6]
        return grad_x


class ReflectionPad(Function):
    shapes = ((2, 4),)
    at = np.array([2, 1, 0, 1, 2, 3, 2])

    def forward(self, x):
        return x[:, self.at]

    def backward(self, grad_y):
        grad_x = np.zeros((2, 4))
        np.add.at(grad_x, (slice(None), self.at), grad_y)
        return grad_x


class ReflectionPadBorderLost(ReflectionPad):
    def backward(self, grad_y):
        return grad_y[:, 2:6]


class ReflectionPadSymmetric(ReflectionPad):
    """The border itself reflected too."""

    def backward(self, grad_y):
        self.at = np.array([1, 0, 0, 1, 2, 3, 3])
        return super().backward(grad_y)


class ReflectionPadUnderReplication(ReflectionPad):
    """The backward of another mode."""

    def forward(self, x):
        return x[:, [0, 0, 0, 1, 2, 3, 3]]


class CircularPad(Function):
    shapes = ((2, 4),)
    at = np.array([2, 3, 0, 1, 2, 3, 0])

    def forward(self, x):
        return x[:, self.at]

    def backward(self, grad_y):
        grad_x = np.zeros((2, 4))
        np.add.at(grad_x, (slice(None), self.at), grad_y)
        return grad_x


class CircularPadOtherWayRound(CircularPad):
    def backward(self, grad_y):
        self.at = self.at[::-1]
        return super().backward(grad_y)


class CircularPadLastWriteWins(CircularPad):
    def backward(self, grad_y):
        grad_x = np.zeros((2, 4))
        grad_x[:, self.at] = grad_y
        return grad_x
