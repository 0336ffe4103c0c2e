"""torchvision as an oracle."""

import pytest
import torchvision_here


@pytest.fixture(scope="session")
def tv():
    """torchvision.transforms; skips where it is not installed."""
    torchvision_here.torchvision()
    import torchvision.transforms

    return torchvision.transforms
