"""`backends.mps`: programs ask it for Apple's GPU, which minicnn does not use."""


def is_available() -> bool:
    """False: tensors are in the CPU's memory."""
    return False


def is_built() -> bool:
    """False: minicnn has no code for it."""
    return False
