"""Every differentiable operation, one family a file: derivation, forward, backward, function.

minicnn shows them all under its own name; minicnn.nn.functional shows those that PyTorch has there.
"""

# ruff: noqa: F403, I001
# The order matters where a file and a function share a name: `norm` is the function of reduce.py.
from .norm import *
from .activation import *
from .adaptive_pool import *
from .arithmetic import *
from .arrange import *
from .choice import *
from .compare import *
from .conv import *
from .conv_transpose import *
from .creation import *
from .diagonals import *
from .dropout import *
from .embedding import *
from .entropy import *
from .exponential import *
from .fold import *
from .gate import *
from .grid import *
from .index import *
from .inverse_erf import *
from .likelihood import *
from .linear import *
from .loss import *
from .lp_pool import *
from .margin import *
from .noisy import *
from .pad import *
from .pool import *
from .reduce import *
from .cumulative import *
from .order import *
from .resize import *
from .response_norm import *
from .rms import *
from .rounding import *
from .sample_norm import *
from .robust import *
from .shape import *
from .shrink import *
from .shuffle import *
from .similarity import *
from .special import *
from .stochastic_pool import *
from .trigonometry import *
from .unpool import *

from . import methods as _methods  # noqa: F401  attaches the functions to Tensor

__all__ = [name for name, value in globals().items() if callable(value) and name[0] != "_"]
