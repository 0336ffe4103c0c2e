"""Blocks that several networks are built of, with the names and state_dict keys of torchvision.ops.

Convolution, norm, activation
-----------------------------
Three layers that nearly always come together. Batch normalisation subtracts the mean of what the
convolution gives and then adds a shift of its own, so a bias in between would be subtracted again:
the convolution has one only where no norm follows.


Squeeze and excitation (J. Hu, L. Shen, G. Sun, "Squeeze-and-excitation networks", CVPR 2018,
arXiv:1709.01507, equations 2 to 4)
---------------------------------------------------------------------------------------------
Every channel is scaled by a factor that depends on the whole image:

    x (N,C,H,W) --+-----------------------------------------------------------+
                  |                                                           v
                  +-> mean over H,W -> C x R dense -> relu -> R x C dense -> sigmoid -> * -> y

     z[n,c]     = 1/(H W) * sum over i,j of x[n,c,i,j]                        squeeze
     s[n,:]     = sigmoid(W2 relu(W1 z[n,:] + b1) + b2)                       excitation
     y[n,c,i,j] = s[n,c] * x[n,c,i,j]

The dense layers are 1x1 convolutions of a 1x1 map. The factor is also a way by which every place of
y depends on every place of x: receptive fields are given without it.


Stochastic depth (G. Huang, Y. Sun, Z. Liu, D. Sedra, K. Weinberger, "Deep networks with stochastic
depth", ECCV 2016, arXiv:1603.09382)
---------------------------------------------------------------------------------------------------
In training a residual block, y = x + f(x), is left out for some images: f(x) is kept with
probability 1 - p. Each image passes a shallower network, whose gradients have a shorter way to go,
and the network is a mixture of them. The paper scales f(x) by 1 - p in evaluation; here what is
kept is scaled up in training, so that evaluation has nothing to do:

(1)  y[n] = x[n] + m[n] * f(x)[n] / (1 - p)      m[n] = 1 with probability 1 - p, else 0

     E y[n] = x[n] + ((1 - p) * 1/(1 - p) + p * 0) * f(x)[n] = x[n] + f(x)[n]

This is dropout with one m for a whole image, and the same derivative: with the m that was drawn,

     grad_f[n] = m[n] * grad_y[n] / (1 - p)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import nn
from ..functional import layer_norm, permute
from ..functional.dropout import Dropout, check_probability, draw_key
from .arguments import check_sizes

_SMALLEST_MAP = 3

# ---------------------------------------------------------------------- the blocks


class Conv2dNormActivation(nn.Sequential):
    """Conv2d, norm_layer, activation_layer, as children 0, 1 and 2.

    Args:
        in_channels, out_channels, kernel_size, stride, groups, dilation: as for Conv2d.
        padding: None keeps the size at stride 1: (kernel_size - 1) / 2 * dilation, rounded down.
        norm_layer: called with out_channels; None for no norm.
        activation_layer: called with inplace=inplace, or without where inplace is None; None for no
            activation.
        bias: None gives the convolution a bias where there is no norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any = 3,
        stride: Any = 1,
        padding: Any = None,
        groups: int = 1,
        norm_layer: Callable[..., Any] | None = nn.BatchNorm2d,
        activation_layer: Callable[..., Any] | None = nn.ReLU,
        dilation: Any = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
    ):
        if padding is None:
            padding = tuple(
                (k - 1) // 2 * d for k, d in zip(_pair(kernel_size), _pair(dilation), strict=True)
            )
        if bias is None:
            bias = norm_layer is None
        layers = [
            nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
            )
        ]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer(**({} if inplace is None else {"inplace": inplace})))
        super().__init__(*layers)
        self.out_channels = out_channels

    def __getitem__(self, index: Any) -> Any:
        """A layer, or a Sequential of some of them."""
        return nn.Sequential(*list(self)[index]) if isinstance(index, slice) else list(self)[index]


def _pair(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value, value)


class SqueezeExcitation(nn.Module):
    """Scales each channel of x (N, C, H, W) by a factor computed from all of x; see above.

    Args:
        input_channels: C.
        squeeze_channels: width R of the hidden layer.
        activation, scale_activation: made without arguments; after the first and the second layer.
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[[], Any] = nn.ReLU,
        scale_activation: Callable[[], Any] = nn.Sigmoid,
    ):
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, input: Any) -> Any:
        squeezed = self.activation(self.fc1(self.avgpool(input)))
        return self.scale_activation(self.fc2(squeezed)) * input


def stochastic_depth(input: Any, p: float, mode: str, training: bool = True) -> Any:
    """Sets whole samples of `input` (N, ...) to 0 with probability p, divides the others by 1 - p.

    Args:
        input: what a residual branch gives.
        p: 0 to 1. With 0 nothing is drawn; with 1 the result is zero.
        mode: "row" draws for every sample, "batch" once for all of them.
        training: False returns the input itself.

    What is drawn follows from the generator that `manual_seed` seeds. Raises ValueError for another
    mode or p outside 0 .. 1, TypeError for a p that is no number.
    """
    check_probability("stochastic_depth", p)
    if mode not in ("row", "batch"):
        raise ValueError(f"stochastic_depth: mode expects 'row' or 'batch', got {mode!r}")
    if not training or p == 0:
        return input
    samples = input.shape[:1] if mode == "row" else (1,)
    mask_shape = (*samples, *[1] * (input.ndim - 1))
    return Dropout.apply(input, p=float(p), key=draw_key(input), mask_shape=mask_shape)


class StochasticDepth(nn.Module):
    """`stochastic_depth` in training, the identity in evaluation. Errors come when it is made."""

    def __init__(self, p: float, mode: str):
        super().__init__()
        check_probability("StochasticDepth", p)
        if mode not in ("row", "batch"):
            raise ValueError(f"StochasticDepth: mode expects 'row' or 'batch', got {mode!r}")
        self.p = p
        self.mode = mode

    def forward(self, input: Any) -> Any:
        return stochastic_depth(input, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class Permute(nn.Module):
    """The axes of x in the order `dims`."""

    def __init__(self, dims: Sequence[int]):
        super().__init__()
        self.dims = list(dims)

    def forward(self, x: Any) -> Any:
        return permute(x, self.dims)

    def extra_repr(self) -> str:
        return f"dims={self.dims}"


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of x (N, C, H, W), at each place by itself.

    Arguments, parameters and errors are LayerNorm's, with normalized_shape C.
    """

    def forward(self, input: Any) -> Any:
        last = permute(input, (0, 2, 3, 1))
        y = layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps)
        return permute(y, (0, 3, 1, 2))


# ---------------------------------------------------------------------- sizes and initial values


def make_divisible(value: float, divisor: int, min_value: int | None = None) -> int:
    """`value` rounded to a multiple of `divisor`, for channels that a width multiplier scaled.

    At least min_value (None: the divisor), and never more than a tenth below `value`.
    """
    least = divisor if min_value is None else min_value
    rounded = max(least, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def check_scale(network: str, name: str, value: Any) -> None:
    """ValueError that names the network and the argument unless it is a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{network}: {name} expects a number above 0, got {value!r}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{network}: {name} expects a finite number above 0, got {value!r}")


def strides_for(network: str, image_size: int | None, strides: Sequence[int]) -> list[int]:
    """The strides of a network, given in order, for images of image_size x image_size.

    None leaves them. Where fewer than 3x3 places would be left of a small image, the first strides
    become 1, as few as will do: of five halvings, three stay for 28 and 32, four for 64, all from
    65 up. ValueError for an image_size that is not a positive integer or None.
    """
    check_sizes(network, ("image_size",), image_size=image_size)
    kept = list(strides)
    if image_size is None:
        return kept
    for i in range(len(kept)):
        if _side_after(kept, image_size) >= _SMALLEST_MAP:
            break
        kept[i] = 1
    return kept


def _side_after(strides: Sequence[int], side: int) -> int:
    for stride in strides:
        side = -(-side // stride)
    return side


def initialize(net: Any, conv: Callable[[Any], Any], linear: Callable[[Any], Any]) -> None:
    """Fills the weight of each Conv2d by `conv`, of each Linear by `linear`; their biases are 0.

    Norms stay as they start, with factors 1 and shifts 0.
    """
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            (conv if isinstance(layer, nn.Conv2d) else linear)(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def he_fan_out(weight: Any) -> None:
    """N(0, 2 / fan_out): keeps the size of gradients through ReLUs (He et al. 2015)."""
    nn.init.kaiming_normal_(weight, mode="fan_out")


def small_normal(weight: Any) -> None:
    """N(0, 0.01^2), for the last dense layer: all classes start about equally likely."""
    nn.init.normal_(weight, 0, 0.01)
