"""The networks that are trained side by side: each written once, for PyTorch or what stands for it.

`lib` is the module `torch` or `minicnn`. The state_dict keys are the same in both, so that the
initial weights can be copied over. `width` is that of the first convolution.
"""

from __future__ import annotations

from typing import Any


def lenet5(lib: Any, width: int = 6, classes: int = 10) -> Any:
    """LeNet-5 with ReLU and max pooling: (N,1,28,28) to logits (N,classes)."""
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, width, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 16, 5),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.ReLU(inplace=True),
        nn.Linear(120, 84),
        nn.ReLU(inplace=True),
        nn.Linear(84, classes),
    )


def vgg11(
    lib: Any,
    width: int = 64,
    classes: int = 1000,
    side: int = 224,
    batch_norm: bool = False,
    hidden: int = 4096,
) -> Any:
    """VGG-11: (N,3,side,side) to logits (N,classes)."""
    nn, layers, channels = lib.nn, [], 3
    for stage, convolutions in enumerate((1, 1, 2, 2, 2)):
        features = width * min(2**stage, 8)
        for _ in range(convolutions):
            layers.append(nn.Conv2d(channels, features, 3, padding=1))
            layers += [nn.BatchNorm2d(features)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            channels = features
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * (side // 32) ** 2, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(hidden, classes),
    )


def resnet18(lib: Any, width: int = 64, classes: int = 10) -> Any:
    """ResNet-18 for small images: a 3x3 stem without pooling. (N,3,H,W) to logits (N,classes)."""
    nn = lib.nn

    class Block(nn.Module):  # type: ignore[name-defined]
        def __init__(self, channels: int, features: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, features, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(features)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(features)
            self.downsample = None
            if stride != 1 or channels != features:
                self.downsample = nn.Sequential(
                    nn.Conv2d(channels, features, 1, stride, bias=False), nn.BatchNorm2d(features)
                )

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    blocks, channels = [], width
    for stage in range(4):
        features = width * 2**stage
        blocks += [Block(channels, features, 2 if stage else 1), Block(features, features, 1)]
        channels = features
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, classes),
    )


def small_vgg(lib: Any, width: int = 32, classes: int = 10, side: int = 32) -> Any:
    """Six convolutions with batch norm in three stages: (N,3,side,side) to logits (N,classes)."""
    nn, layers, channels = lib.nn, [], 3
    for stage in range(3):
        for _ in range(2):
            features = width * 2**stage
            layers += [nn.Conv2d(channels, features, 3, padding=1), nn.BatchNorm2d(features)]
            layers.append(nn.ReLU(inplace=True))
            channels = features
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (side // 8) ** 2, classes))
