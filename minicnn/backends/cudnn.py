"""`backends.cudnn`: its switches may be set and read; nothing depends on them.

On a GPU the convolutions are kernels/conv.cu, not cuDNN's. What the switches would mean there:

    benchmark       nothing is timed to choose an algorithm: the sizes alone decide
    deterministic   always so: no kernel adds in an order that varies; see `backends`
    allow_tf32      convolutions compute in the type of their arrays, float32 as float32
"""

benchmark = False
deterministic = False
enabled = True
allow_tf32 = True


def is_available() -> bool:
    """False: cuDNN is not used."""
    return False
