"""NumPy's files: every type of number, and what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from torch_writer import zipped

import minicnn
from minicnn.interop import FormatError

CODES = [
    "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16",
    ">i2", ">f4", ">c16",
]  # fmt: skip


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def with_header(text, body=b"", version=b"\1\0", length=None):
    width = 2 if version[0] == 1 else 4
    size = (len(text) if length is None else length).to_bytes(width, "little")
    return b"\x93NUMPY" + version + size + text.encode("latin1") + body


def refusal(content):
    with pytest.raises(FormatError) as caught:
        minicnn.load(io.BytesIO(content))
    return str(caught.value)


@pytest.mark.parametrize("code", CODES)
def test_every_type_and_order(code, tmp_path):
    x = np.arange(24).reshape(2, 3, 4) % 2
    arrays = {
        "c": x.astype(code),
        "f": np.asfortranarray(x.astype(code)),
        "0": x[0, 0, 0].astype(code),
    }
    arrays["empty"] = np.zeros((0, 3), code)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x", **arrays)
        found = minicnn.load(tmp_path / "x.npz")
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            tensor = found[name]
            assert isinstance(tensor, minicnn.Tensor) and tensor.dtype == array.dtype.newbyteorder(
                "="
            )
            np.testing.assert_array_equal(tensor.array, array)
            assert tensor.array.flags.writeable and tensor.dtype.isnative
    np.save(tmp_path / "x.dat", arrays["f"])  # by content, whatever the name
    np.testing.assert_array_equal(minicnn.load(tmp_path / "x.dat.npy").array, arrays["f"])


def test_names_are_kept_and_an_archive_may_be_empty():
    out = io.BytesIO()
    np.savez(out, **{"layer1/conv.weight": np.ones(2), "b.npy": np.zeros(1)})
    out.seek(0)
    assert set(minicnn.load(out)) == {"layer1/conv.weight", "b.npy"}
    out = io.BytesIO()
    np.savez(out)
    out.seek(0)
    assert minicnn.load(out) == {}


def test_every_version_of_the_format():
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }\n"  # Python 2 wrote 2L
    for version in (b"\1\0", b"\2\0", b"\3\0"):
        found = minicnn.load(io.BytesIO(with_header(text, bytes(8), version)))
        assert found.shape == (2,) and found.dtype == np.float32


@pytest.mark.parametrize(
    "array",
    [np.array([{}]), np.array(["x"]), np.array([b"x"]), np.zeros(1, "f4,i4"), np.zeros(1, "M8[s]")],
    ids=str,
)
def test_only_numbers(array):
    for content in (npy(array), zipped({"x.npy": npy(array)})):
        text = refusal(content)
        assert "numbers alone are read" in text or "describes no array of numbers" in text


GOOD = "{{'descr': '<f4', 'fortran_order': False, 'shape': {}, }}\n"
BAD = {
    "no header": (with_header("", length=0), "describes no array"),
    "code": (with_header("__import__('os').system('true')"), "describes no array"),
    "deep": (with_header("(" * 60000), "describes no array"),
    "longer than the file": (with_header("{}", length=60000), "claims a header of 60000"),
    "of 4 GB": (with_header("{}", version=b"\2\0", length=2**32 - 1), "claims a header"),
    "version 9": (with_header("{}", version=b"\x09\0"), "version 1, 2 or 3"),
    "fewer bytes": (with_header(GOOD.format("(3,)"), bytes(8)), r"is to hold (3,) of float32"),
    "more bytes": (with_header(GOOD.format("(1,)"), bytes(8)), "but 8 bytes follow"),
    "huge": (with_header(GOOD.format(f"({2**40}, {2**40})"), bytes(8)), "is to hold"),
    "65 dimensions": (with_header(GOOD.format("(" + "1," * 65 + ")"), bytes(4)), "a shape that"),
    "64 bits and more": (with_header(GOOD.format(f"(0, {2**64})")), "a shape that is none"),
    "beyond NumPy": (with_header(GOOD.format(f"(0, {10**18}, {10**18})")), "of shape"),
    "no numbers": (with_header(GOOD.format("(1 2,)"), bytes(4)), "a shape that is none"),
    "gaps": (with_header(GOOD.format("(1,,1)"), bytes(4)), "a shape that is none"),
    "long double": (with_header(GOOD.replace("<f4", "<f16").format("(1,)"), bytes(16)), "'<f16'"),
    "BOOL of 7": (with_header(GOOD.replace("<f4", "|b1").format("(1,)"), b"\7"), "0 and 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name):
    content, message = BAD[name]
    assert message in refusal(content)
    assert message in refusal(zipped({"x.npy": content}))


def test_every_truncation_is_refused():
    content = npy(np.arange(6.0))
    for n in range(len(content)):
        refusal(content[:n])


def test_numbers_off_their_alignment():
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}"
    text += " " * (len(text) % 2)
    found = minicnn.load(io.BytesIO(with_header(text, np.array([1.5, 2.5]).tobytes())))
    assert found.tolist() == [1.5, 2.5] and found.array.flags.aligned
