"""torchvision as an oracle, from the helper beside the tests of the networks."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tv():
    """torchvision.transforms; skips where it is not installed."""
    path = Path(__file__).parent.parent / "models" / "torchvision_here.py"
    spec = importlib.util.spec_from_file_location("torchvision_here", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.torchvision()
    import torchvision.transforms

    return torchvision.transforms
