"""ResNets with attention: squeeze-and-excitation, and CBAM (J. Hu et al., CVPR 2018,
arXiv:1709.01507; S. Woo et al., ECCV 2018, arXiv:1807.06521). attention.py has the modules and what
they gain, resnet.py the network around them.

                     parameters    of them for attention    multiply-adds
    se_resnet18      11,778,592                   89,080    1.81e9
    se_resnet50      28,088,024                2,530,992    4.09e9
    cbam_resnet18    11,779,376                   89,864    1.82e9
    cbam_resnet50    28,089,592                2,532,560    4.09e9

Map sizes and receptive fields are resnet.py's, as far as convolutions go. Through the means over a
map every unit depends on the whole image a little.
"""

from __future__ import annotations

from .resnet import BasicBlock, Bottleneck, register_resnet

_18, _50 = [2, 2, 2, 2], [3, 4, 6, 3]
_HU, _WOO = "(Hu et al. 2018)", "(Woo et al. 2018)"

se_resnet18 = register_resnet(
    "se_resnet18",
    f"SE-ResNet-18 {_HU}",
    BasicBlock,
    _18,
    11_778_592,
    module=__name__,
    attention="se",
)
se_resnet50 = register_resnet(
    "se_resnet50",
    f"SE-ResNet-50 {_HU}",
    Bottleneck,
    _50,
    28_088_024,
    module=__name__,
    attention="se",
)
cbam_resnet18 = register_resnet(
    "cbam_resnet18",
    f"ResNet-18 with CBAM {_WOO}",
    BasicBlock,
    _18,
    11_779_376,
    module=__name__,
    attention="cbam",
)
cbam_resnet50 = register_resnet(
    "cbam_resnet50",
    f"ResNet-50 with CBAM {_WOO}",
    Bottleneck,
    _50,
    28_089_592,
    module=__name__,
    attention="cbam",
)
