"""unfold and fold: im2col and col2im, for whoever wants to do something of their own to windows.

    x     (N, C, H, W)              images         S  stride      KH, KW  kernel
    cols  (N, C*KH*KW, OH*OW)       their windows  P  padding     D       dilation

OH and OW are those of a convolution. A column of cols is a window: row (c,p,q) = (c*KH + p)*KW + q
holds its pixel under tap (p,q) in channel c, column (i,j) = i*OW + j is the window at (i,j).


unfold
------
(1)  cols[n, (c,p,q), (i,j)] = x[n,c, i*S + p*D - P, j*S + q*D - P]        0 outside of x

unfold copies, and one pixel into as many columns as windows read it. So the pixel's gradient is the
sum of what these columns get:

(2)  grad_x[n,c,h,k] = sum over (i,p): i*S + p*D - P = h, (j,q): j*S + q*D - P = k
                       of grad_cols[n, (c,p,q), (i,j)]


fold
----
fold is (2) taken as a forward: it lays the columns over an image, and where windows overlap they
add up.

(3)  x[n,c,h,k] = sum over (i,p): i*S + p*D - P = h, (j,q): j*S + q*D - P = k
                  of cols[n, (c,p,q), (i,j)]

An entry goes to one pixel (or, in the padding, to none), so its gradient is that pixel's:

(4)  grad_cols[n, (c,p,q), (i,j)] = grad_x[n,c, i*S + p*D - P, j*S + q*D - P]        0 outside of x

which is (1). With unfold as a matrix E of zeros and ones, fold is E^T. Each one's gradient is the
other, and derivatives of any order go to and fro between the two.


Not each other's inverse
------------------------
fold(unfold(x)) adds each pixel as often as windows read it:

(5)  fold(unfold(x)) = m * x        with m = fold(unfold(ones))

Where windows tile the image (S the kernel's size, nothing left over) m is 1 and fold undoes unfold.
Where they overlap, dividing by m gives the image back, if no pixel has m = 0. The other way round,
unfold(fold(cols)) is any cols again only if the windows neither overlap nor reach into the padding,
where entries are dropped.


By hand
-------
x = [[1,2,3],[4,5,6],[7,8,9]], kernel 2, S = D = 1, P = 0: four windows, a column each,

     cols = [[1,2,4,5], [2,3,5,6], [4,5,7,8], [5,6,8,9]]

and folded again, with m = [[1,2,1],[2,4,2],[1,2,1]]:

     fold(cols) = [[1,4,3], [8,20,12], [7,16,9]]
"""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd.function import Function
from ..backend.geometry import ConvGeometry
from .checks import with_batch, without_batch

__all__ = ["fold", "unfold"]


class Im2col(Function):
    """cols = Im2col(x): formula (1).  grad_x = Col2im(grad_cols): formula (2)."""

    def forward(self, x: Any, *, geometry: ConvGeometry) -> Any:
        self.geometry = geometry
        return backend.of(x).im2col(x, geometry)

    def backward(self, grad_cols: Any) -> Any:
        return Col2im.apply(grad_cols, geometry=self.geometry)


class Col2im(Function):
    """x = Col2im(cols): formula (3).  grad_cols = Im2col(grad_x): formula (4)."""

    def forward(self, cols: Any, *, geometry: ConvGeometry) -> Any:
        self.geometry = geometry
        return backend.of(cols).col2im(cols, geometry)

    def backward(self, grad_x: Any) -> Any:
        return Im2col.apply(grad_x, geometry=self.geometry)


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """The windows of images as columns: formula (1).

    Args:
        input: (N, C, H, W), or a single image (C, H, W). N may be 0.
        kernel_size, dilation, stride: a positive integer, or one for each axis.
        padding: zeros on either side, an integer or one for each axis.

    Returns:
        (N, C*KH*KW, OH*OW), or (C*KH*KW, OH*OW) for a single image, of the input's dtype.

    Raises:
        ValueError: a wrong number of axes, a window larger than the padded image.
        TypeError: an input of integers, options that are not integers.
    """
    _check_copied("unfold", input)
    x = with_batch("unfold", input, 2)
    geometry = ConvGeometry.of_windows(x.shape, kernel_size, dilation, padding, stride, "unfold")
    cols = Im2col.apply(x, geometry=geometry)
    return cols if x is input else without_batch(cols)


def fold(
    input: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Any:
    """Columns added up to images: formula (3), the adjoint of unfold.

    Args:
        input: (N, C*KH*KW, L), or (C*KH*KW, L) for a single image; L windows. N may be 0.
        output_size: the images' size (H, W), or one integer for both.
        kernel_size, dilation, stride: a positive integer, or one for each axis.
        padding: what unfold padded with, an integer or one for each axis; it is cut off.

    Returns:
        (N, C, H, W), or (C, H, W), of the input's dtype.

    Raises:
        ValueError: a wrong number of axes; rows that are not a multiple of KH*KW, columns that are
            not as many as the windows of an image of output_size; windows larger than it.
        TypeError: an input of integers, options that are not integers.
    """
    _check_copied("fold", input)
    shape = tuple(input.shape)
    if input.ndim not in (2, 3) or 0 in shape[-2:]:
        raise ValueError(f"fold: x expects (N, C*KH*KW, L) or (C*KH*KW, L), got {shape}")
    cols = with_batch("fold", input, 1)
    options = (kernel_size, dilation, padding, stride)
    geometry = ConvGeometry.of_columns(cols.shape, output_size, *options, "fold")
    x = Col2im.apply(cols, geometry=geometry)
    return x if cols is input else without_batch(x)


def _check_copied(function: str, x: Any) -> None:
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        got = type(x).__name__
        raise TypeError(f"{function}: x expects a Tensor or an array, got {got}")
    if dtype.kind not in "fcb":
        raise TypeError(f"{function}: x expects a floating type or bool, got {dtype}")
