"""The import lines and switches at the head of tutorials, with minicnn for torch."""

from __future__ import annotations

import pytest
from torchvision_here import torchvision

IMPORTS = """
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.init as init
import torch.optim as optim
import torch.utils.data as data
import torch.backends.cudnn as cudnn
from torch import Tensor, nn, optim, autograd, cuda
from torch.autograd import Variable, Function, grad, gradcheck
from torch.nn import Module, Linear, Conv2d, Parameter, Sequential, init
from torch.nn.parameter import Parameter
from torch.nn.utils import clip_grad_norm_, parameters_to_vector
from torch.optim import SGD, Adam, lr_scheduler, Optimizer
from torch.optim.lr_scheduler import StepLR, CosineAnnealingLR
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
from torch.utils.data.dataset import Dataset
from torch.utils.data.sampler import SubsetRandomSampler
"""
VISION = """
import torchvision.datasets as datasets
import torchvision.transforms as transforms
from torchvision import datasets, models, transforms
from torchvision.datasets import MNIST, FashionMNIST
from torchvision.transforms import Compose, ToTensor, Normalize, Lambda
from torchvision.models import vgg16
"""
SWITCHES = """
import torch
torch.manual_seed(42)
torch.cuda.manual_seed(42)
torch.cuda.manual_seed_all(42)
torch.backends.cudnn.deterministic = True
torch.backends.cudnn.benchmark = False
torch.use_deterministic_algorithms(True)
torch.set_default_dtype(torch.float32)
torch.set_printoptions(precision=4, sci_mode=False, linewidth=120)
torch.set_printoptions(profile="default")
if torch.cuda.is_available():
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
device = torch.device("mps" if torch.backends.mps.is_available() else "cpu")
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
acc = torch.accelerator
device = acc.current_accelerator().type if acc.is_available() else "cpu"
assert torch.Size([2, 3]) == torch.zeros(2, 3).shape
assert torch.zeros(2, 3).size() == torch.Size((2, 3))
assert torch.finfo(torch.float32).eps < 1e-6 and torch.iinfo(torch.int64).max > 2**62
assert torch.tensor(torch.inf) > torch.pi and torch.tensor(torch.nan).isnan()
seed = torch.initial_seed()
state = torch.get_rng_state()
a = torch.rand(3)
torch.set_rng_state(state)
assert torch.equal(a, torch.rand(3)) and seed == 42
torch.use_deterministic_algorithms(False)
"""


@pytest.mark.parametrize(
    "source", [IMPORTS, VISION, SWITCHES], ids=["imports", "vision", "switches"]
)
@pytest.mark.parametrize("library", ["minicnn", "torch"])
def test_heads(source, library):
    if library == "torch":
        pytest.importorskip("torch")
        if source is VISION:
            torchvision()
        exec(source, {})
        return
    for name in ("torchvision", "torch"):
        source = source.replace(f"import {name}\n", f"import minicnn as {name}\n")
        for word in ("import", "from"):
            source = source.replace(f"{word} {name}", f"{word} minicnn")
    exec(source, {})
