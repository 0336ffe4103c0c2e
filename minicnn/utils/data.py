"""minicnn.data under the name that PyTorch code imports: minicnn.utils.data."""

import sys

from ..data import *  # noqa: F403
from ..data import __all__, dataset, loader, sampler  # noqa: F401

# `from minicnn.utils.data.sampler import SubsetRandomSampler` finds the same module, not a copy.
for _name, _module in (("dataset", dataset), ("sampler", sampler), ("dataloader", loader)):
    sys.modules[f"{__name__}.{_name}"] = _module
