"""Attention for convolutional networks: factors between 0 and 1 for channels and for places.

Squeeze-and-excitation (J. Hu, L. Shen, G. Sun, "Squeeze-and-excitation networks", CVPR 2018,
arXiv:1709.01507, figure 1 and section 3) weighs the channels of a map by what they hold on average
over all places, which no convolution of the network sees:

    x (C, H, W) --> mean over H, W --> dense C -> C/r, ReLU --> dense C/r -> C, sigmoid --> (*) -->
       |                 squeeze             excitation                                     |
       +------------------------------------------------------------------------------------+

CBAM, the convolutional block attention module (S. Woo, J. Park, J.-Y. Lee, I. S. Kweon, "CBAM:
convolutional block attention module", ECCV 2018, arXiv:1807.06521, figures 1 and 2), looks at the
largest value beside the mean, and weighs places after channels:

    (2)  m(c)    = sigmoid(MLP(mean of x over H, W) + MLP(max of x over H, W)),  one MLP, as in SE
         x'      = m * x
    (3)  s(h,w)  = sigmoid(conv7x7([mean of x' over C; max of x' over C]))
         x''     = s * x'

Either stands at the end of a block's branch, before the shortcut is added. With a reduction of
r = 16 a block of C channels gets 2 C^2/r + C + C/r more parameters with SE, and 2 * 49 more than
that with CBAM. The CBAM paper's table 4, single-crop top-1 error on ImageNet:

                 plain               with SE             with CBAM
    ResNet-18    11.69M   29.60 %    11.78M   29.41 %    11.78M   29.27 %
    ResNet-34    21.80M   26.69 %    21.96M   26.13 %    21.96M   25.99 %
    ResNet-50    25.56M   24.56 %    28.09M   23.14 %    28.09M   22.66 %
    ResNet-101   44.55M   23.38 %    49.33M   22.35 %    49.33M   21.51 %

The dense layers have biases: without them these counts would not come out. The papers' equations
leave them away. The 7x7 convolution has none; the authors' code puts a batch norm after it, of
which the paper says nothing and which is not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import nn
from ..functional import cat, relu, sigmoid
from .arguments import check_sizes


class SqueezeExcite(nn.Module):
    """x times a factor for each of its channels: (N, channels, H, W) to the same shape.

    Args:
        channels: of x.
        reduction: by how much the hidden layer is narrower; it keeps one unit at least.
        bias: whether the two dense layers have biases.

    Raises ValueError for sizes below 1.
    """

    def __init__(self, channels: int, reduction: int = 16, bias: bool = True):
        super().__init__()
        check_sizes("SqueezeExcite", channels=channels, reduction=reduction)
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, channels, bias=bias)

    def forward(self, x: Any) -> Any:
        squeezed = x.mean((2, 3))  # (N, C)
        factors = sigmoid(self.fc2(relu(self.fc1(squeezed))))
        return x * factors[:, :, None, None]


class ChannelAttention(nn.Module):
    """CBAM's factor for each channel, equation 2; arguments and errors are SqueezeExcite's."""

    def __init__(self, channels: int, reduction: int = 16, bias: bool = True):
        super().__init__()
        check_sizes("ChannelAttention", channels=channels, reduction=reduction)
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, channels, bias=bias)

    def forward(self, x: Any) -> Any:
        mean, largest = x.mean((2, 3)), x.amax((2, 3))
        # fc2 is linear, but its bias counts twice: MLP(mean) + MLP(max).
        logits = self.fc2(relu(self.fc1(mean))) + self.fc2(relu(self.fc1(largest)))
        return x * sigmoid(logits)[:, :, None, None]


class SpatialAttention(nn.Module):
    """CBAM's factor for each place, equation 3: (N, C, H, W) to the same shape.

    kernel_size: odd, so that the map keeps its size. Raises ValueError for others.
    """

    def __init__(self, kernel_size: int = 7):
        super().__init__()
        check_sizes("SpatialAttention", kernel_size=kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f"SpatialAttention: kernel_size expects an odd one, got {kernel_size}")
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Any) -> Any:
        described = cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)  # (N, 2, H, W)
        return x * sigmoid(self.conv(described))


class CBAM(nn.Module):
    """Channel attention, then spatial attention: (N, channels, H, W) to the same shape.

    Args:
        channels, reduction, bias: as of SqueezeExcite.
        kernel_size: of the convolution that finds the places; odd.

    Raises ValueError for sizes below 1 and an even kernel.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7, bias: bool = True):
        super().__init__()
        self.channel = ChannelAttention(channels, reduction, bias)
        self.spatial = SpatialAttention(kernel_size)

    def forward(self, x: Any) -> Any:
        return self.spatial(self.channel(x))


_BY_NAME: dict[str, Callable[[int], nn.Module]] = {"se": SqueezeExcite, "cbam": CBAM}


def attention_maker(
    network: str, attention: str | Callable[[int], nn.Module] | None
) -> Callable[[int], nn.Module] | None:
    """What makes the attention of a number of channels: by name, as given, or None for none.

    Raises ValueError, naming `network`, for another name or something that cannot be called.
    """
    if attention is None or (callable(attention) and not isinstance(attention, str)):
        return attention
    if not isinstance(attention, str) or attention not in _BY_NAME:
        raise ValueError(
            f"{network}: attention expects {', '.join(map(repr, _BY_NAME))}, a callable that makes "
            f"a module of a number of channels, or None, got {attention!r}"
        )
    return _BY_NAME[attention]
