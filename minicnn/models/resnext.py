"""ResNeXt: many narrow branches in the place of one wide one (S. Xie, R. Girshick, P. Dollar,
Z. Tu, K. He, "Aggregated residual transformations for deep neural networks", CVPR 2017,
arXiv:1611.05431).

    ResNet-50's first block              ResNeXt-50 32x4d's: 32 branches of width 4 (figure 3)

          256 channels                              256 channels
               |                         +------------+----------- ... ---+
        1x1, 256 -> 64                256 -> 4     256 -> 4            256 -> 4     1x1
        3x3,  64 -> 64                  4 -> 4       4 -> 4              4 -> 4     3x3
        1x1,  64 -> 256                 4 -> 256     4 -> 256            4 -> 256   1x1
               |                         +-----------(+)--------- ... ----+
              (+) <- x                               (+) <- x

        69,632 weights                  32 * (256*4 + 9*4*4 + 4*256) = 70,144 weights

Why. An inner product splits its input, transforms each part and sums. ResNeXt does the same with
whole subnetworks, all alike, and their number, the cardinality, becomes a third measure of a
network beside depth and width. At the same cost, more and narrower branches err less: the paper's
table 3, top-1 error on ImageNet,

                  1 x 64d (ResNet)    2 x 40d    4 x 24d    8 x 14d    32 x 4d
    50 layers     23.9 %              23.0 %     22.6 %     22.3 %     22.2 %
    101 layers    22.0 %              21.7 %     21.4 %     21.3 %     21.2 %

The branches are one Bottleneck whose 3x3 convolution has 32 groups (figure 3c): the 1x1 before it
is all branches' first layers side by side, the 1x1 after it sums their last ones. Its width is
planes * width_per_group/64 * groups: 64 * 4/64 * 32 = 128 in layer1.

                          groups    width    parameters     multiply-adds
    resnext50_32x4d       32        4        25,028,904     4.23e9
    resnext101_32x8d      32        8        88,791,336     16.41e9
    resnext101_64x4d      64        4        83,455,272     15.46e9

Stages, map sizes and receptive fields are those of ResNet-50 and -101 in resnet.py.
Names, arguments, initial values and state_dict keys are torchvision's.
"""

from __future__ import annotations

from .resnet import Bottleneck, register_resnet

resnext50_32x4d = register_resnet(
    "resnext50_32x4d",
    "ResNeXt-50, 32 branches of width 4 (Xie et al. 2017)",
    Bottleneck,
    [3, 4, 6, 3],
    25_028_904,
    module=__name__,
    groups=32,
    width_per_group=4,
)
resnext101_32x8d = register_resnet(
    "resnext101_32x8d",
    "ResNeXt-101, 32 branches of width 8 (Xie et al. 2017)",
    Bottleneck,
    [3, 4, 23, 3],
    88_791_336,
    module=__name__,
    groups=32,
    width_per_group=8,
)
resnext101_64x4d = register_resnet(
    "resnext101_64x4d",
    "ResNeXt-101, 64 branches of width 4 (Xie et al. 2017)",
    Bottleneck,
    [3, 4, 23, 3],
    83_455_272,
    module=__name__,
    groups=64,
    width_per_group=4,
)
