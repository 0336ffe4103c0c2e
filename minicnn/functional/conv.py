"""Convolution, and the derivation of its gradients.

    x  (N, C, H, W)         input              S  stride     G  groups
    w  (F, C/G, KH, KW)     weight             P  padding
    b  (F,)                 bias               D  dilation
    y  (N, F, OH, OW)       output             OH = floor((H + P + P' - D*(KH-1) - 1) / S) + 1

P is the padding in front (above, left) and P' behind; of PyTorch's options only padding='same' with
an even span makes them differ. Everything is written for G = 1 first; h, k count rows and columns
of x. The axes of an image never mix: conv1d has the first of each pair (i,j), (p,q), (h,k) alone,
conv3d has a third beside them, and every formula holds as it stands.


Forward
-------
(1)  y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c, i*S + p*D - P, j*S + q*D - P]

x is taken as zero outside 0 <= h < H, 0 <= k < W. (The kernel is not flipped: mathematics calls
this cross-correlation.)


Backward, from the definition
-----------------------------
Let L be any scalar computed from y, and grad_y[n,f,i,j] = dL / dy[n,f,i,j]. The chain rule says
that for every number t which y depends on

     dL/dt = sum over n,f,i,j of grad_y[n,f,i,j] * dy[n,f,i,j] / dt

y is linear in each of b, w and x, so dy/dt is what t is multiplied by in (1).

Bias: b[f] appears in every output of channel f, with factor 1:

(2)  grad_b[f] = sum over n,i,j of grad_y[n,f,i,j]

Weight: w[f,c,p,q] appears once in every y[n,f,i,j], times the pixel that its tap lies on:

(3)  grad_w[f,c,p,q] = sum over n,i,j of grad_y[n,f,i,j] * x[n,c, i*S + p*D - P, j*S + q*D - P]

Input: x[n,c,h,k] appears in those y[n,f,i,j] whose window has a tap on it. Tap p of window i lies
on row h where i*S + p*D - P = h, so the sum is over the pairs (i,p) that meet this, with 0 <= i <
OH and 0 <= p < KH, and over the pairs (j,q) likewise:

(4)  grad_x[n,c,h,k] = sum over f, (i,p): i*S + p*D - P = h, (j,q): j*S + q*D - P = k
                       of w[f,c,p,q] * grad_y[n,f,i,j]

With groups, output channel f belongs to group g = f // (F/G), and c in w[f,c,p,q] stands for the
input channel g*(C/G) + c. Nothing else changes: (1), (3) and (4) hold inside each group.


One form, three functions
-------------------------
(1), (3) and (4) run over the same index pairs. Put the three arrays into one number,

(5)  T(x, w, g) = sum over n,f,c,p,q,i,j of g[n,f,i,j] * w[f,c,p,q] * x[n,c, i*S+p*D-P, j*S+q*D-P]

and they are its partial derivatives:

     Conv(x, w)           = dT/dg           ConvGradInput(g, w)  = dT/dx
     ConvGradWeight(x, g) = dT/dw

T is linear in each argument. Hence all three of

     <Conv(x, w), g> = <x, ConvGradInput(g, w)> = <w, ConvGradWeight(x, g)>

are T, and the derivative of each function is again one of them: Conv's backward calls ConvGradInput
and ConvGradWeight, ConvGradInput's calls Conv and ConvGradWeight, and ConvGradWeight's calls
ConvGradInput and Conv. The family is closed, so derivatives of any order come without another
formula.


im2col and its adjoint
----------------------
Write the windows as columns: cols[n, (c,p,q), (i,j)] = x[n,c, i*S+p*D-P, j*S+q*D-P]. Then (1) is a
matrix product, y[n] = W @ cols[n] + b with W (F, C*KH*KW) the weights, and so are its gradients:

(6)  grad_w = sum over n of grad_y[n] @ cols[n]^T       grad_cols[n] = W^T @ grad_y[n]

im2col only copies: cols = E x with a matrix E of zeros and ones, a row for each entry of cols. A
row has a single 1, on the pixel it copies (none, if that is padding). A *column* of E has a 1 for
each window that reads the pixel. The gradient goes back through the transpose, grad_x = E^T
grad_cols, and a row of E^T therefore *adds up* all entries that were copied from one pixel: this
is col2im. It is the adjoint of im2col, <E x, c> = <x, E^T c>, and not its inverse:
col2im(im2col(x)) multiplies each pixel by the number of windows that read it.


Stride in the forward is dilation in the backward
-------------------------------------------------
Along one axis, (3) is sum over i of grad_y[i] * x[p*D + i*S - P]. Compare with (1): p is now the
output's index and i the kernel's, so this is a convolution of x with grad_y as its kernel, in which
D is the stride and S the dilation (n and c change places as well: the sum is over images). Its size
is KH + floor(R/D), where R are the rows left over (below); only the first KH of them are weights.

(4) along one axis: spread grad_y out with S - 1 zeros between its entries, u[i*S] = grad_y[i], else
0. Then grad_x[h] = sum over p of w[p] * u[h + P - p*D], and with the kernel flipped, p' = KH-1-p,

(7)  grad_x[h] = sum over p' of w[KH-1-p'] * u[h + p'*D - (D*(KH-1) - P)]

which is (1) again: stride 1, dilation D, padding D*(KH-1) - P in front (if negative, so many rows
of u are cut off). The stride has become holes in the input: the adjoint of leaving outputs out is
filling zeros in.


Rows left over
--------------
The last window ends at row (OH-1)*S + D*(KH-1) - P. If S does not divide H + P + P' - D*(KH-1) - 1,
then

(8)  R = H + P + P' - D*(KH-1) - 1 - (OH-1)*S        with 0 <= R < S

rows of the padded input are behind it, and no window reads them. In (4) no pair (i,p) meets the
condition for them: their gradient is exactly zero. In (7) they show as R more rows of padding
behind u, D*(KH-1) - P' + R in place of D*(KH-1) - P'. A common mistake is a grad_x of the size that
the windows span, instead of the size of x.


By hand
-------
x = [[1,2,3],[4,5,6],[7,8,9]], w = [[1,0],[0,-1]], b = 0, S = D = 1, P = 0; grad_y = [[1,2],[3,4]]:

     y      = [[1-5, 2-6], [4-8, 5-9]]                  = [[-4,-4], [-4,-4]]
     grad_b = 1 + 2 + 3 + 4                             = 10
     grad_w = [[1*1+2*2+3*4+4*5, 1*2+2*3+3*5+4*6],
               [1*4+2*5+3*7+4*8, 1*5+2*6+3*8+4*9]]      = [[37,47], [67,77]]
     grad_x = [[1,2,0], [3,4-1,0-2], [0,0-3,0-4]]       = [[1,2,0], [3,3,-2], [0,-3,-4]]
"""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd.function import Function
from ..backend.geometry import ConvGeometry
from .checks import check_floating, with_batch, without_batch
from .reduce import sum

__all__ = ["conv1d", "conv2d", "conv3d"]


class Conv(Function):
    """y = Conv(x, w) + b: formula (1).  grad_x: (4), grad_w: (3), grad_b: (2)."""

    def forward(self, x: Any, w: Any, b: Any = None, *, geometry: ConvGeometry) -> Any:
        self.geometry = geometry
        need_x, need_w = self.needs_input_grad[:2]
        self.save(x if need_w else None, w if need_x else None)  # each is for the other's gradient
        return backend.of(x).conv_forward(x, w, b, geometry)

    def backward(self, grad_y: Any) -> Any:
        x, w, *_ = self.saved
        need_x, need_w, *need_b = self.needs_input_grad
        if not self.create_graph:
            needs = (need_x, need_w, need_b == [True])
            backward = backend.of(grad_y).conv_backward
            return backward(grad_y, x, w, self.geometry, needs)[: 2 + len(need_b)]
        grad_x = ConvGradInput.apply(grad_y, w, geometry=self.geometry) if need_x else None
        grad_w = ConvGradWeight.apply(x, grad_y, geometry=self.geometry) if need_w else None
        if not need_b:
            return grad_x, grad_w
        return grad_x, grad_w, sum(grad_y, (0, *range(2, grad_y.ndim))) if need_b[0] else None


class ConvReLU(Conv):
    """y = max(Conv(x, w), 0): the negative is cut off while the sums are at hand.

    With g = grad_y where y > 0, else 0, the gradients are those of Conv.
    """

    def forward(self, x: Any, w: Any, b: Any = None, *, geometry: ConvGeometry) -> Any:
        self.geometry = geometry
        need_x, need_w = self.needs_input_grad[:2]
        y = backend.of(x).conv_forward(x, w, b, geometry, relu=True)
        self.save(x if need_w else None, w if need_x else None, y)
        return y

    def backward(self, grad_y: Any) -> Any:
        y = self.saved[2]
        if self.create_graph:
            return super().backward(grad_y * (y != 0))
        return super().backward(backend.of(y).relu_backward(grad_y, y))


class ConvGradInput(Function):
    """grad_x = ConvGradInput(grad_y, w): formula (4), dT/dx of the form (5).

    With v = dL/d grad_x, L depends on grad_y and w through T(v, w, grad_y):
    its derivative by grad_y is Conv(v, w), by w it is ConvGradWeight(v, grad_y).
    """

    function = "conv_transpose"

    def forward(self, grad_y: Any, w: Any, *, geometry: ConvGeometry) -> Any:
        self.geometry = geometry
        need_grad_y, need_w = self.needs_input_grad
        self.save(grad_y if need_w else None, w if need_grad_y else None)
        return backend.of(grad_y).conv_grad_input(grad_y, w, geometry)

    def backward(self, v: Any) -> Any:
        grad_y, w = self.saved
        need_grad_y, need_w = self.needs_input_grad
        by_grad_y = Conv.apply(v, w, geometry=self.geometry) if need_grad_y else None
        by_w = ConvGradWeight.apply(v, grad_y, geometry=self.geometry) if need_w else None
        return by_grad_y, by_w


class ConvGradWeight(Function):
    """grad_w = ConvGradWeight(x, grad_y): formula (3), dT/dw of the form (5).

    With v = dL/d grad_w, L depends on x and grad_y through T(x, v, grad_y):
    its derivative by x is ConvGradInput(grad_y, v), by grad_y it is Conv(x, v).
    """

    def forward(self, x: Any, grad_y: Any, *, geometry: ConvGeometry) -> Any:
        self.geometry = geometry
        need_x, need_grad_y = self.needs_input_grad
        self.save(x if need_grad_y else None, grad_y if need_x else None)
        return backend.of(x).conv_grad_weight(x, grad_y, geometry)

    def backward(self, v: Any) -> Any:
        x, grad_y = self.saved
        need_x, need_grad_y = self.needs_input_grad
        by_x = ConvGradInput.apply(grad_y, v, geometry=self.geometry) if need_x else None
        by_grad_y = Conv.apply(x, v, geometry=self.geometry) if need_grad_y else None
        return by_x, by_grad_y


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """y[n,f,i] = b[f] + sum over c,p of w[f,c,p] * x[n,c,i*S+p*D-P].

    Args:
        input: (N, C, L), or a single sequence (C, L). N may be 0.
        weight: (F, C/groups, K), of the input's dtype.
        bias, stride, padding, dilation, groups: as in conv2d, for one axis.

    Returns:
        (N, F, OL), or (F, OL) for a single sequence, of the input's dtype.

    Raises:
        ValueError, TypeError: as conv2d.
    """
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """y[n,f,i,j] = b[f] + sum over c,p,q of w[f,c,p,q] * x[n,c,i*S+p*D-P,j*S+q*D-P].

    Args:
        input: (N, C, H, W), or a single image (C, H, W). N may be 0.
        weight: (F, C/groups, KH, KW), of the input's dtype.
        bias: (F,), of the input's dtype, or None.
        stride, dilation: a positive integer, or one for each axis.
        padding: zeros around the input: an integer; one for each axis; a pair (in front, behind)
            for each axis, which PyTorch does not take; 'valid' for none; 'same' for an output as
            large as the input (stride 1 only; of an odd total the larger part goes behind).
        groups: cuts the channels into so many convolutions of their own; divides C and F.

    Returns:
        (N, F, OH, OW), or (F, OH, OW) for a single image, of the input's dtype.

    Raises:
        ValueError: shapes that do not fit together, a kernel larger than the padded input, options
            that no convolution has.
        TypeError: dtypes that differ or are not floating; options that are not integers.
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """y[n,f,o,i,j] = b[f] + sum over c,r,p,q of w[f,c,r,p,q] * x[n,c,d,h,k], d = o*S + r*D - P.

    h = i*S + p*D - P and k = j*S + q*D - P as in conv2d.

    Args:
        input: (N, C, D, H, W), or a single volume (C, D, H, W). N may be 0.
        weight: (F, C/groups, KD, KH, KW), of the input's dtype.
        bias, stride, padding, dilation, groups: as in conv2d, for three axes.

    Returns:
        (N, F, OD, OH, OW), or (F, OD, OH, OW) for a single volume, of the input's dtype.

    Raises:
        ValueError, TypeError: as conv2d.
    """
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_relu(
    dims: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Any:
    """relu of conv1d, conv2d or conv3d in one Function, the same to the bit. Arguments as there."""
    options = (stride, padding, dilation, groups)
    return _convolve(f"conv{dims}d", dims, input, weight, bias, *options, ConvReLU)


def _convolve(
    function: str,
    dims: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    Result: type[Conv] = Conv,
) -> Any:
    check_operands(function, input, weight, bias)
    x = with_batch(function, input, dims)
    b_shape = None if bias is None else bias.shape
    geometry = ConvGeometry.of(
        x.shape, weight.shape, b_shape, stride, padding, dilation, groups, function
    )
    y = Result.apply(x, weight, bias, geometry=geometry)
    return y if x is input else without_batch(y)


def check_operands(function: str, x: Any, weight: Any, bias: Any) -> None:
    """TypeError unless x, weight and bias (or None) are floating and of one type."""
    check_floating(function, "x", x)
    for name, value in (("weight", weight), ("bias", bias)):
        if value is None and name == "bias":
            continue
        check_floating(function, name, value)
        if value.dtype != x.dtype:
            raise TypeError(
                f"{function}: {name} expects x's type {x.dtype}, got {value.dtype}: convert one of "
                "them with .to()"
            )
