"""`backends.cudnn`: its switches may be set and read; nothing depends on them."""

benchmark = False
deterministic = False
enabled = True
allow_tf32 = True


def is_available() -> bool:
    """False: cuDNN is not used."""
    return False
