"""`backends.cuda`: its switches may be set and read; nothing depends on them.

Matrix products on a GPU are cuBLAS's, called by CuPy: they round float32 to TF32 only if the
environment says CUPY_TF32=1 before Python starts.
"""


class _Matmul:
    """`backends.cuda.matmul`: precision switches of a GPU's matrix products."""

    allow_tf32 = False


matmul = _Matmul()
