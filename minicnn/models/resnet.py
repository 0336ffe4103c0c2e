"""ResNet: layers that learn what to add to their input (K. He, X. Zhang, S. Ren, J. Sun, "Deep
residual learning for image recognition", CVPR 2016, arXiv:1512.03385).

    a block (figure 2)                   a basic block        a bottleneck (figure 5)

         x ---------------+                 64 channels          256 channels
         |                |                      |                     |
    +----v----+           |                 3x3, 64 -> 64        1x1, 256 -> 64
    |  F(x)   |           | x                  ReLU                   ReLU
    +----+----+           |                 3x3, 64 -> 64        3x3,  64 -> 64
         |                |                      |                    ReLU
        (+) <-------------+                      |               1x1,  64 -> 256
         |                                       |                     |
    y = relu(F(x) + x)                      73,728 weights       69,632 weights

Why. A deeper network can do what a shallower one does: let its further layers be the identity. Yet
plain networks get worse with depth, in training too, so this is not overfitting: solvers do not
find the identity through a stack of nonlinear layers. If the layers learn F(x) = H(x) - x instead
of H(x), the identity is F = 0, which is near to where they start; and the gradient of y reaches x
past the layers, undiminished. The paper's table 2, top-1 error on ImageNet, 10-crop:

                 plain      ResNet
    18 layers    27.94 %    27.88 %
    34 layers    28.54 %    25.03 %

The stages of the paper's table 1, for 224x224, [...] being a block:

                        18          34          50             101            152
    conv1     112x112   7x7, 64, stride 2
    maxpool   56x56     3x3, stride 2
    layer1    56x56     [3x3, 64        ]       [1x1, 64; 3x3, 64; 1x1, 256]
                        [3x3, 64 ] x2   x3      x3             x3             x3
    layer2    28x28     [3x3, 128] x2   x4      512: x4        x4             x8
    layer3    14x14     [3x3, 256] x2   x6      1024: x6       x23            x36
    layer4    7x7       [3x3, 512] x2   x3      2048: x3       x3             x3
    avgpool   1x1       then dense, 1000

    parameters in       18          34          50             101            152
    conv1, bn1          9,536       9,536       9,536          9,536          9,536
    layer1              147,968     221,952     215,808        215,808        215,808
    layer2              525,568     1,116,416   1,219,584      1,219,584      2,339,840
    layer3              2,099,712   6,822,400   7,098,368      26,090,496     40,613,888
    layer4              8,393,728   13,114,368  14,964,736     14,964,736     14,964,736
    fc                  513,000     513,000     2,049,000      2,049,000      2,049,000
    all                 11,689,512  21,797,672  25,557,032     44,549,160     60,192,808
    multiply-adds       1.81e9      3.66e9      4.09e9         7.80e9         11.51e9

    a unit sees, of     18          34          50             101            152
    conv1               7           7           7              7              7
    maxpool             11          11          11             11             11
    layer1              43          59          35             35             35
    layer2              99          179         91             91             155
    layer3              211         547         267            811            1291
    layer4              435         899         427            971            1451

The 1x1 convolutions of a bottleneck bring 256 channels down to 64 for the costly 3x3 and up again:
four times as many channels and three layers for the price of a basic block.

Where a stage begins, x has half as many channels as F(x) and twice the side. The shortcut there is
a 1x1 convolution of stride 2 with batch norm (option B of section 4.1). Option A, zeros for the new
channels, has no parameters and learns nothing there: ResNet-34 errs in 25.03 % with A, 24.52 % with
B and 24.19 % if every shortcut is projected (C; table 3), which the paper finds not worth the cost.
cifar_resnet.py has option A.

Images of up to 64x64 would be 2x2 after the stem and five halvings; made with image_size=32, the
network has a 3x3 stem that keeps the side, and ends with a 4x4 map.

Names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import nn
from ..functional import flatten
from .arguments import check_flag, check_sizes, fix_options
from .attention import attention_maker
from .registry import register

_IMAGE_SIZES = (16, 28, 32, 64, 96, 224)
_SMALL = 64  # up to this side an image has no pixels to give away before the first block


def conv3x3(
    in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """A 3x3 convolution without bias that keeps height and width, or divides them by `stride`."""
    return nn.Conv2d(
        in_planes, out_planes, 3, stride, dilation, dilation=dilation, groups=groups, bias=False
    )


def conv1x1(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(in_planes, out_planes, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """y = relu(x + bn2(conv2(relu(bn1(conv1(x)))))), both convolutions 3x3 (figure 5, left).

    (N, inplanes, H, W) to (N, planes, H/stride, W/stride).

    Args:
        inplanes, planes: channels that come in and go out.
        stride: of the first convolution.
        downsample: brings x to the shape of the sum, where the two differ.
        groups, base_width, dilation: 1, 64 and 1; other values are for Bottleneck.
        norm_layer: makes the normalisation of a number of channels; BatchNorm2d if None.
        attention: makes a module that weighs what the block adds; none if None.

    Raises ValueError for groups or a width, NotImplementedError for a dilation, that it has not.
    """

    expansion = 1  # channels out, in multiples of planes

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Callable[[int], nn.Module] | None = None,
        attention: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        if groups != 1 or base_width != 64:
            raise ValueError(
                f"BasicBlock: groups and base_width expect 1 and 64, got {groups} and {base_width};"
                " Bottleneck takes others"
            )
        if dilation != 1:
            raise NotImplementedError(
                f"BasicBlock: dilation expects 1, got {dilation}; Bottleneck takes others"
            )
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.attention = None if attention is None else attention(planes)
        self.downsample = downsample
        self.stride = stride

    def residual(self, x: Any) -> Any:
        """F(x): what the block adds to x."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return y if self.attention is None else self.attention(y)

    def forward(self, x: Any) -> Any:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.residual(x) + shortcut)


class Bottleneck(nn.Module):
    """1x1 down to `width` channels, 3x3, 1x1 up to 4 planes (figure 5, right).

    (N, inplanes, H, W) to (N, 4 planes, H/stride, W/stride), with
    width = planes * base_width/64 * groups.

    The arguments are BasicBlock's; groups, base_width and dilation belong to the 3x3 convolution.
    It has the stride too, as in torchvision ("version 1.5"). In the paper the first 1x1 has it, and
    so leaves three quarters of x unseen.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Callable[[int], nn.Module] | None = None,
        attention: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.attention = None if attention is None else attention(planes * self.expansion)
        self.downsample = downsample
        self.stride = stride

    def residual(self, x: Any) -> Any:
        """F(x): what the block adds to x."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return y if self.attention is None else self.attention(y)

    def forward(self, x: Any) -> Any:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu(self.residual(x) + shortcut)


class ResNet(nn.Module):
    """Stem, four stages of blocks, average over the map, dense layer: (N, C, H, W) to logits.

    Args:
        block: BasicBlock, Bottleneck, or a class that is called as they are.
        layers: numbers of blocks of the four stages.
        num_classes: size of the output.
        zero_init_residual: the last norm of each block starts with factor 0, so that the block
            starts as the identity (P. Goyal et al., "Accurate, large minibatch SGD", 2017,
            section 5.1).
        groups, width_per_group: of the 3x3 convolutions of Bottleneck: ResNeXt and Wide ResNet.
        replace_stride_with_dilation: for layer2, layer3 and layer4, whether the map keeps its size
            and the kernels spread instead, as segmentation wants it.
        norm_layer: makes the normalisation of a number of channels; BatchNorm2d if None.
        in_channels: channels of the images.
        image_size: up to 64, the stem is one 3x3 convolution of stride 1 without pooling; above,
            and for None, it is the paper's. Images of other sizes can still be given.
        attention: "se" or "cbam" (see attention.py), or what makes a module of a number of
            channels: it weighs what each block adds.

    Raises ValueError for sizes that are no positive integers, for other than four stages and other
    than three dilations, and for what the block refuses.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Callable[[int], nn.Module] | None = None,
        in_channels: int = 3,
        image_size: int | None = None,
        attention: str | Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        check_sizes("ResNet", num_classes=num_classes, in_channels=in_channels, groups=groups)
        check_sizes(
            "ResNet", ["image_size"], width_per_group=width_per_group, image_size=image_size
        )
        check_flag("ResNet", zero_init_residual=zero_init_residual)
        dilate = _dilations(replace_stride_with_dilation)
        if len(layers) != 4:
            raise ValueError(f"ResNet: layers expects 4 numbers of blocks, got {layers!r}")
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width = groups, width_per_group
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self._attention = attention_maker("ResNet", attention)
        small = image_size is not None and image_size <= _SMALL
        if small:
            self.conv1 = nn.Conv2d(in_channels, self.inplanes, 3, 1, 1, bias=False)
        else:
            self.conv1 = nn.Conv2d(in_channels, self.inplanes, 7, 2, 3, bias=False)
        self.bn1 = self._norm_layer(self.inplanes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        initialize(self, zero_init_residual)

    def _make_layer(
        self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> nn.Sequential:
        """One stage. Its first block has the stride, and where it must, a projecting shortcut."""
        check_sizes("ResNet", layers=blocks)
        norm_layer, first_dilation = self._norm_layer, self.dilation
        if dilate:
            self.dilation *= stride
            stride = 1
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                conv1x1(self.inplanes, planes * block.expansion, stride),
                norm_layer(planes * block.expansion),
            )
        common: dict[str, Any] = {
            "groups": self.groups,
            "base_width": self.base_width,
            "norm_layer": norm_layer,
        }
        if self._attention is not None:
            common["attention"] = self._attention
        first = block(self.inplanes, planes, stride, downsample, dilation=first_dilation, **common)
        self.inplanes = planes * block.expansion
        rest = [
            block(self.inplanes, planes, dilation=self.dilation, **common)
            for _ in range(blocks - 1)
        ]
        return nn.Sequential(first, *rest)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(flatten(self.avgpool(x), 1))


def initialize(net: nn.Module, zero_init_residual: bool = False) -> None:
    """He's values for the convolutions (normal, by fan_out); norms begin as the identity.

    zero_init_residual: the last norm of every block begins with factor 0.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.constant_(module.weight, 1)
            nn.init.constant_(module.bias, 0)
    if zero_init_residual:
        for block in net.modules():
            if isinstance(block, (BasicBlock, Bottleneck)):
                last = block.bn2 if isinstance(block, BasicBlock) else block.bn3
                if getattr(last, "weight", None) is not None:
                    nn.init.constant_(last.weight, 0)


def _dilations(given: Sequence[bool] | None) -> Sequence[bool]:
    if given is None:
        return (False, False, False)
    if not isinstance(given, (tuple, list)) or len(given) != 3:
        raise ValueError(
            "ResNet: replace_stride_with_dilation expects three flags, for layer2 to layer4, or "
            f"None, got {given!r}"
        )
    return given


def register_resnet(
    name: str,
    description: str,
    block: type[BasicBlock | Bottleneck],
    layers: list[int],
    parameters: int,
    module: str = __name__,
    **fixed: Any,
) -> Any:
    """The maker of a ResNet of these blocks, registered; `fixed` are options that cannot change.

    module: the name of the file that describes the network.
    """

    def make(**options: Any) -> ResNet:
        return ResNet(block, layers, **fix_options(name, fixed, options))

    make.__name__ = make.__qualname__ = name
    make.__module__ = module
    make.__doc__ = f"""{description}: {parameters:,} parameters.

    Args:
        weights, progress: published weights to load; see weights.py.
        options: what ResNet takes: num_classes, in_channels, image_size (28, 32 and 64 give the
            stem for small images), zero_init_residual, replace_stride_with_dilation, norm_layer,
            attention.
    """
    return register(
        name,
        description,
        image_sizes=_IMAGE_SIZES,
        input_size=(3, 224, 224),
        parameters=parameters,
        cam="layer4",
        family="resnet",
    )(make)


_HE = "(He et al. 2016)"
resnet18 = register_resnet("resnet18", f"ResNet-18 {_HE}", BasicBlock, [2, 2, 2, 2], 11_689_512)
resnet34 = register_resnet("resnet34", f"ResNet-34 {_HE}", BasicBlock, [3, 4, 6, 3], 21_797_672)
resnet50 = register_resnet("resnet50", f"ResNet-50 {_HE}", Bottleneck, [3, 4, 6, 3], 25_557_032)
resnet101 = register_resnet("resnet101", f"ResNet-101 {_HE}", Bottleneck, [3, 4, 23, 3], 44_549_160)
resnet152 = register_resnet("resnet152", f"ResNet-152 {_HE}", Bottleneck, [3, 8, 36, 3], 60_192_808)
