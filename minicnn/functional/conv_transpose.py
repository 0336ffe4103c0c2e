"""Transposed convolution: a convolution's input gradient, taken as a forward.

    x  (N, C, H, W)         input              S  stride     G  groups
    w  (C, F/G, KH, KW)     weight             P  padding
    b  (F,)                 bias               D  dilation
    y  (N, F, OH, OW)       output             R  output_padding

A convolution gathers: each output sums the pixels under its window. The transposed convolution
spreads: each *input* pixel is multiplied by the whole kernel and laid over the output, a stride
apart, and what overlaps adds up. A network that shrank its images with stride S makes them large
again with it. Written for G = 1 first.


Size
----
Pixel i covers the rows i*S + p*D of the full output, p = 0 .. KH-1; its first row is 0 and its last
(H-1)*S + D*(KH-1). P rows are cut off on either side, and R are added behind:

(1)  OH = (H-1)*S + D*(KH-1) + 1 - 2*P + R


Forward
-------
(2)  y[n,f,h,k] = b[f] + sum over c, (i,p): i*S + p*D - P = h, (j,q): j*S + q*D - P = k
                         of w[c,f,p,q] * x[n,c,i,j]

Compare with formula (4) of functional/conv: this is the input gradient of a convolution which takes
y's shape to x's, with the same S, P, D and weights. There F counts the channels of what we call x
here, and C those of y, so the weight's axes stand the other way round: (C, F/G, KH, KW) here is the
(F, C/G, KH, KW) there. Hence the name: convolution is a matrix A, y.ravel() = A x.ravel(), and this
is multiplication by A^T. It is the adjoint and not the inverse; "deconvolution" is a misnomer.


Backward
--------
(2) is linear in each of b, w and x. Each term stands in one y[n,f,h,k] with h = i*S + p*D - P and
k = j*S + q*D - P; where that is outside of y, the term was cut off, and grad_y counts as zero:

(3)  grad_b[f] = sum over n,h,k of grad_y[n,f,h,k]

(4)  grad_x[n,c,i,j] = sum over f,p,q of w[c,f,p,q] * grad_y[n,f, i*S + p*D - P, j*S + q*D - P]

(5)  grad_w[c,f,p,q] = sum over n,i,j of x[n,c,i,j] * grad_y[n,f, i*S + p*D - P, j*S + q*D - P]

(4) is a convolution, of grad_y: the transpose of the transpose. (5) is a convolution's weight
gradient with grad_y in the place of its input and x in that of its output's gradient. No new
function is needed: with T of functional/conv (5), which is linear in each of three arrays,

     y = dT/d(input) at (w, x)    grad_x = dT/d(output)  at (grad_y, w)
                                  grad_w = dT/d(weight)  at (grad_y, x)

which are the Functions ConvGradInput, Conv and ConvGradWeight. The family is closed, so second
derivatives come without another line.

With groups, input channel c belongs to group g = c // (C/G), and f in w[c,f,p,q] stands for the
output channel g*(F/G) + f.


Output padding
--------------
A convolution with stride S leaves over up to S - 1 rows (functional/conv, formula (8)), so several
sizes OH shrink to one H, and H alone does not say which of them to go back to. R says it: it is the
number of rows left over by the convolution from y to x,

(6)  R = OH + 2*P - D*(KH-1) - 1 - (H-1)*S

No window of that convolution reads the last R rows of the padded y. The rows that R adds are not
zeros, though, when P > 0: they are the first of the P rows which were cut off behind, and they hold
whatever the last pixels lay there. Only what reaches beyond the full output is b alone.

A convolution leaves over R < S rows. PyTorch takes R >= S as well where R < D: floor(R/S) more
windows would fit into y then, and x would have so many more rows. The formulas hold all the same,
because i counts the rows of x, and not the windows that fit. Since h = i*S + p*D - P does not ask
how much padding is behind, those windows are kept out by less padding there,

(7)  P' = P - S*floor(R/S)        so that        floor((OH + P + P' - D*(KH-1) - 1) / S) + 1 = H

where P' may be negative: so many of the last rows of y does no window read.


By hand
-------
x = [[1,2],[3,4]], w = [[1,0],[0,-1]], b = 0, S = D = 1, P = 0; grad_y = [[1,2,3],[4,5,6],[7,8,9]]:

     y      = [[1,2,0], [3,4-1,-2], [0,-3,-4]]            = [[1,2,0], [3,3,-2], [0,-3,-4]]
     grad_b = 1 + 2 + ... + 9                             = 45
     grad_x = [[1-5, 2-6], [4-8, 5-9]]                    = [[-4,-4], [-4,-4]]
     grad_w = [[1*1+2*2+3*4+4*5, 1*2+2*3+3*5+4*6],
               [1*4+2*5+3*7+4*8, 1*5+2*6+3*8+4*9]]        = [[37,47], [67,77]]

These are the numbers of functional/conv, with y and grad_x exchanged, and x with grad_y.
"""

from __future__ import annotations

from typing import Any

from ..backend.geometry import ConvGeometry
from .checks import with_batch, without_batch
from .conv import ConvGradInput, check_operands
from .shape import reshape

__all__ = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """y[n,f,h] = b[f] + sum over c and (i,p) with i*S + p*D - P = h of w[c,f,p] * x[n,c,i].

    Args:
        input: (N, C, L), or a single sequence (C, L). N may be 0.
        weight: (C, F/groups, K), of the input's dtype.
        bias, stride, padding, output_padding, groups, dilation: as in conv_transpose2d.

    Returns:
        (N, F, OL), or (F, OL) for a single sequence, of the input's dtype.

    Raises:
        ValueError, TypeError: as conv_transpose2d.
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose1d", 1, input, weight, bias, options)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """y[n,f,h,k] = b[f] + sum of w[c,f,p,q] * x[n,c,i,j] where i*S+p*D-P = h, j*S+q*D-P = k.

    Args:
        input: (N, C, H, W), or a single image (C, H, W). N may be 0.
        weight: (C, F/groups, KH, KW), of the input's dtype.
        bias: (F,), of the input's dtype, or None.
        stride: how far apart the pixels are laid, an integer or one for each axis.
        padding: rows and columns that are cut off on either side, an integer or one for each axis.
        output_padding: rows and columns added behind; less than stride or less than dilation.
        groups: cuts the channels into so many transposed convolutions of their own; divides C.
        dilation: how far apart the kernel's taps lie.

    Returns:
        (N, F, OH, OW) by formula (1), or (F, OH, OW) for a single image, of the input's dtype.

    Raises:
        ValueError: shapes that do not fit together, an output that padding leaves nothing of,
            options that no transposed convolution has.
        TypeError: dtypes that differ or are not floating; options that are not integers.
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose2d", 2, input, weight, bias, options)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """conv_transpose2d with one more axis.

    Args:
        input: (N, C, D, H, W), or a single volume (C, D, H, W). N may be 0.
        weight: (C, F/groups, KD, KH, KW), of the input's dtype.
        bias, stride, padding, output_padding, groups, dilation: as in conv_transpose2d.

    Returns:
        (N, F, OD, OH, OW), or (F, OD, OH, OW) for a single volume, of the input's dtype.

    Raises:
        ValueError, TypeError: as conv_transpose2d.
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose3d", 3, input, weight, bias, options)


def _transposed(
    function: str, dims: int, input: Any, weight: Any, bias: Any, options: tuple[Any, ...]
) -> Any:
    check_operands(function, input, weight, bias)
    x = with_batch(function, input, dims)
    stride, padding, output_padding, groups, dilation = options
    geometry = ConvGeometry.of_transposed(
        x.shape,
        weight.shape,
        None if bias is None else bias.shape,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        function,
    )
    y = ConvGradInput.apply(x, weight, geometry=geometry)
    if bias is not None:
        y = y + reshape(bias, (-1, *(1,) * dims))
    return y if x is input else without_batch(y)
