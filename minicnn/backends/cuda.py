"""`backends.cuda`: its switches may be set and read; nothing depends on them."""


class _Matmul:
    """`backends.cuda.matmul`: precision switches of a GPU's matrix products."""

    allow_tf32 = False


matmul = _Matmul()
