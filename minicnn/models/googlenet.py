r"""GoogLeNet, which won the ImageNet contest of 2014 (C. Szegedy, W. Liu, Y. Jia, P. Sermanet,
S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke, A. Rabinovich, "Going deeper with convolutions",
CVPR 2015, arXiv:1409.4842, figures 2b and 3, table 1).

    Inception
                +-------------- branch1  1x1 -----------------\
                |                                              \
    x ----------+-- branch2  1x1 reduce ----> 3x3 -------------- cat --> the maps of all four
                |                                              /
                +-- branch3  1x1 reduce ----> 5x5 ------------/
                |                                            /
                +-- branch4  max pool 3x3 --> 1x1 project --/

One does not have to choose between 1x1, 3x3 and 5x5: a module computes them all, for things of
different size, and a 1x1 convolution in front first reduces the channels, without which the 5x5
would be too dear. So it is 22 layers deep and, with no dense layers but the last, has a ninth of
AlexNet's parameters.

    layer                        output         parameters   sees
    conv1       7x7, stride 2    64 x 112x112        9,536   7
    maxpool1    3x3, stride 2    64 x 56x56                  11
    conv2       1x1              64 x 56x56          4,224   11
    conv3       3x3              192 x 56x56       110,976   19
    maxpool2    3x3, stride 2    192 x 28x28                 27
    inception3a                  256 x 28x28       155,872   43
    inception3b                  480 x 28x28       340,224   59
    maxpool3    3x3, stride 2    480 x 14x14                 75
    inception4a                  512 x 14x14       364,512   107     --> aux1, in training
    inception4b                  512 x 14x14       425,232   139
    inception4c                  512 x 14x14       486,192   171
    inception4d                  528 x 14x14       573,312   203     --> aux2, in training
    inception4e                  832 x 14x14       803,840   235
    maxpool4    2x2, stride 2    832 x 7x7                   251
    inception5a                  832 x 7x7         978,944   315
    inception5b                  1024 x 7x7      1,347,040   379
    avgpool, fc                  1000            1,025,000   all
                                                 6,624,904   (13,004,888 with both aux heads)

The gradient had a long way to go, so in training two more heads give their opinion from the middle,
and the loss is loss(logits) + 0.3 loss(aux1) + 0.3 loss(aux2); in use they are not computed.

Names, arguments, initial values and state_dict keys are torchvision's, and so are two differences
from the paper: batch normalisation behind every convolution, which is from Inception v2, and a 3x3
convolution in branch3 where the paper has 5x5 (the published weights are of that network; with 5x5
a unit of the last maps would see more). Poolings round up, as in Caffe.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import nn
from ..functional import adaptive_avg_pool2d, cat, flatten, relu
from .arguments import check_flag, check_sizes
from .registry import register

_SMALL = 64  # up to here the first convolution is 3x3 and keeps the size

# ImageNet's mean and deviation of each channel, which inputs are expected to be normalised by; the
# published weights were trained with 0.5 for both.
_IMAGENET = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))


class GoogLeNetOutputs(NamedTuple):
    """What GoogLeNet gives in training: (N, num_classes) thrice, None for heads that it has not.

    The loss of the paper (section 5) is that of `logits` and 0.3 times that of each other head.
    """

    logits: Any
    aux_logits2: Any
    aux_logits1: Any


class GoogLeNet(nn.Module):
    """GoogLeNet: (N, in_channels, H, W) to logits (N, num_classes).

    In training, with aux_logits, it gives GoogLeNetOutputs.

    Args:
        num_classes: size of the output.
        aux_logits: two more heads, in the middle of the network, whose losses are added in
            training.
        transform_input: inputs are normalised with ImageNet's means and deviations; bring them to
            0.5 and 0.5, with which the published weights were trained. For 3 channels.
        init_weights: initial values N(0, 0.01), cut off at 2, for convolutions and dense layers
            (None: True); otherwise the layers' own.
        blocks: classes to use in place of [BasicConv2d, Inception, InceptionAux].
        dropout, dropout_aux: probabilities in front of the last dense layer and in the other heads.
        in_channels: channels of the input.
        image_size: None, or more than 64, for the paper's network. Up to 64 the first convolution
            is 3x3 with stride 1 and the first pooling is left out: 32x32 images end in 4x4 maps.

    Raises ValueError for bad sizes, flags and blocks.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = True,
        blocks: list[Callable[..., nn.Module]] | None = None,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
        in_channels: int = 3,
        image_size: int | None = None,
    ):
        super().__init__()
        check_sizes("GoogLeNet", num_classes=num_classes, in_channels=in_channels)
        check_sizes("GoogLeNet", optional=("image_size",), image_size=image_size)
        check_flag("GoogLeNet", aux_logits=aux_logits)
        check_transform("GoogLeNet", transform_input, in_channels)
        conv, inception, head = _blocks(blocks)
        self.aux_logits = aux_logits
        self.transform_input = transform_input
        small = image_size is not None and image_size <= _SMALL

        if small:
            self.conv1 = conv(in_channels, 64, kernel_size=3, padding=1)
        else:
            self.conv1 = conv(in_channels, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.Identity() if small else nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)

        self.inception3a = inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)

        self.inception4a = inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)

        self.inception5a = inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = inception(832, 384, 192, 384, 48, 128, 128)

        self.aux1: Any = head(512, num_classes, dropout=dropout_aux) if aux_logits else None
        self.aux2: Any = head(528, num_classes, dropout=dropout_aux) if aux_logits else None

        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(p=dropout)
        self.fc = nn.Linear(1024, num_classes)
        if init_weights or init_weights is None:
            self._initialize()

    def forward(self, x: Any) -> Any:
        if self.transform_input:
            x = from_imagenet(x)
        heads = self.training and self.aux_logits
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        aux1 = self.aux1(x) if heads else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        aux2 = self.aux2(x) if heads else None
        x = self.maxpool4(self.inception4e(x))
        x = self.inception5b(self.inception5a(x))
        logits = self.fc(self.dropout(flatten(self.avgpool(x), 1)))
        return GoogLeNetOutputs(logits, aux2, aux1) if heads else logits

    def _initialize(self) -> None:
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(layer.weight, mean=0.0, std=0.01, a=-2, b=2)
            elif isinstance(layer, nn.BatchNorm2d):
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)


class Inception(nn.Module):
    """(N, in_channels, H, W) to (N, ch1x1 + ch3x3 + ch5x5 + pool_proj, H, W); see the figure.

    ch3x3red and ch5x5red are the channels that the 1x1 convolutions in front leave.
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
        conv_block: Callable[..., nn.Module] | None = None,
    ):
        super().__init__()
        conv = BasicConv2d if conv_block is None else conv_block
        self.branch1 = conv(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            conv(in_channels, ch3x3red, kernel_size=1),
            conv(ch3x3red, ch3x3, kernel_size=3, padding=1),
        )
        self.branch3 = nn.Sequential(
            conv(in_channels, ch5x5red, kernel_size=1),
            conv(ch5x5red, ch5x5, kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1, ceil_mode=True),
            conv(in_channels, pool_proj, kernel_size=1),
        )

    def forward(self, x: Any) -> Any:
        return cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """A head in the middle: (N, in_channels, H, W), averaged to 4x4, to logits (N, num_classes)."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        conv_block: Callable[..., nn.Module] | None = None,
        dropout: float = 0.7,
    ):
        super().__init__()
        conv = BasicConv2d if conv_block is None else conv_block
        self.conv = conv(in_channels, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(p=dropout)

    def forward(self, x: Any) -> Any:
        x = flatten(self.conv(adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(relu(self.fc1(x))))


class BasicConv2d(nn.Module):
    """A convolution without bias, batch norm (eps 0.001) and ReLU; kwargs are Conv2d's."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Any) -> Any:
        return relu(self.bn(self.conv(x)), inplace=True)


def check_transform(network: str, transform_input: bool, in_channels: int) -> None:
    """ValueError where `from_imagenet` is asked for and the images are not of three colours."""
    check_flag(network, transform_input=transform_input)
    if transform_input and in_channels != 3:
        raise ValueError(
            f"{network}: transform_input expects in_channels 3 (red, green, blue), "
            f"got {in_channels}"
        )


def from_imagenet(x: Any) -> Any:
    """Images (N, 3, H, W) normalised by ImageNet's means and deviations, brought to 0.5 and 0.5.

    With z in [0, 1] the input is x = (z - mean) / std, and the output (z - 0.5) / 0.5.
    """
    channels = [
        x[:, c : c + 1] * (std / 0.5) + (mean - 0.5) / 0.5
        for c, (mean, std) in enumerate(_IMAGENET)
    ]
    return cat(channels, 1)


def _blocks(blocks: list[Callable[..., nn.Module]] | None) -> list[Callable[..., nn.Module]]:
    if blocks is None:
        return [BasicConv2d, Inception, InceptionAux]
    if len(blocks) != 3:
        raise ValueError(
            f"GoogLeNet: blocks expects the classes of convolution, module and head, got {blocks!r}"
        )
    return list(blocks)


def _with_weights(make: Callable[..., Any], options: dict[str, Any], load: Any) -> GoogLeNet:
    """The published file holds two heads, which were never trained; they go unless asked for."""
    heads = options.get("aux_logits", False)
    check_flag("googlenet", aux_logits=heads)
    fixed = {"aux_logits": True, "init_weights": False}
    net = make(**{"transform_input": True, **options, **fixed})
    load(net)
    if heads:
        warnings.warn("googlenet: the auxiliary heads of the published weights are not trained")
    else:
        net.aux_logits, net.aux1, net.aux2 = False, None, None
    return net


@register(
    "googlenet",
    "GoogLeNet, Inception v1 (Szegedy et al. 2015)",
    image_sizes=(28, 32, 64, 96, 224),
    input_size=(3, 224, 224),
    parameters=6_624_904,  # as published: without the auxiliary heads, 13,004,888 with them
    cam="inception5b",
    family="googlenet",
    with_weights=_with_weights,
)
def googlenet(**options: Any) -> GoogLeNet:
    """`GoogLeNet(**options)`.

    With published weights transform_input is True unless told otherwise, and the network has no
    auxiliary heads unless aux_logits=True asks for them (they are not trained: a warning).
    """
    return GoogLeNet(**options)
