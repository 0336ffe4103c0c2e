"""Makes minicnn/datasets/digits.bin from scikit-learn's copy of the digits, bit for bit.

Usage: python scripts/make_digits.py [FILE]     (needs scikit-learn; minicnn itself does not)
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from minicnn.datasets.digits import pack, unpack


def main() -> None:
    default = Path(__file__).parents[1] / "minicnn" / "datasets" / "digits.bin"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    digits = load_digits()
    content = pack(digits.images, digits.target)
    images, labels = unpack(content)
    assert np.array_equal(images, digits.images)
    assert np.array_equal(labels, digits.target)
    path.write_bytes(content)
    print(f"{path}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
