"""PyTorch writes, minicnn reads, and the other way round: the same tensors."""

from __future__ import annotations

import io
from collections import OrderedDict

import numpy as np
import pytest
from safetensors import safe_open

import minicnn
from minicnn import nn
from minicnn.interop import FormatError, read_metadata

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
torch_files = pytest.importorskip("safetensors.torch")

DTYPES = [
    "float64", "float32", "float16", "bfloat16", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128",
]  # fmt: skip
WAYS = [(zipped, protocol) for zipped in (True, False) for protocol in (2, 3, 4, 5)]
WAYS_IDS = [f"{'zip' if zipped else 'legacy'} protocol {protocol}" for zipped, protocol in WAYS]


def through(obj, zipped=True, protocol=2, **options):
    file = io.BytesIO()
    torch.save(obj, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    file.seek(0)
    return minicnn.load(file, **options)


def same(found, expected):
    expected = expected.detach()
    expected = expected.float() if expected.dtype == torch.bfloat16 else expected
    assert found.dtype == expected.numpy().dtype and found.shape == tuple(expected.shape)
    np.testing.assert_array_equal(found.array, expected.numpy())


@pytest.mark.parametrize(("zipped", "protocol"), WAYS, ids=WAYS_IDS)
def test_tensors_of_every_type_and_form(zipped, protocol):
    x = torch.arange(24.0).reshape(2, 3, 4)
    tensors = OrderedDict(
        x=x, turned=x.permute(2, 0, 1), part=x[1, ::2, 1:3], last=x[1, 2, 3], none=x[:0],
        expanded=torch.ones(1, 3).expand(4, 3), channels=torch.ones(2, 3, 4, 5).to(
            memory_format=torch.channels_last), scalar=torch.tensor(7), empty=torch.zeros(0, 2),
        parameter=torch.nn.Parameter(x[0]), fixed=torch.nn.Parameter(x[1], requires_grad=False),
    )  # fmt: skip
    for dtype in DTYPES:
        tensors[dtype] = torch.tensor([0, 1, 0, 1, 1]).to(getattr(torch, dtype))
    found = through(tensors, zipped, protocol)
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        same(found[name], tensor)
        assert found[name].requires_grad == tensor.requires_grad
    found["x"].array[...] = -1  # the memory is shared as it was
    for name in ("turned", "part", "last", "parameter"):
        assert (found[name].array == -1).all()


@pytest.mark.parametrize(("zipped", "protocol"), WAYS, ids=WAYS_IDS)
def test_a_checkpoint_of_a_training(zipped, protocol):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.randn(2, 1, 3, 3)}
    group = {"lr": 0.01, "betas": (0.9, 0.999), "fused": None, "params": [0, 1, 2, 3]}
    optimizer = {"state": {0: moments}, "param_groups": [group]}
    checkpoint = {
        "epoch": 3, "model": net.state_dict(), "optimizer": optimizer,
        "best": np.float64(0.75), "shape": torch.Size([2, 3]), "rng": torch.get_rng_state(),
        "history": np.arange(4.0),
    }  # fmt: skip
    found = through(checkpoint, zipped, protocol)
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    ours.load_state_dict(found["model"])
    for name, value in net.state_dict().items():
        same(ours.state_dict()[name], value)
    assert found["model"]._metadata == net.state_dict()._metadata
    same(found["optimizer"]["state"][0]["exp_avg"], moments["exp_avg"])
    assert found["optimizer"]["param_groups"] == [group]
    assert found["best"] == 0.75 and found["epoch"] == 3 and found["shape"] == (2, 3)
    np.testing.assert_array_equal(found["history"], checkpoint["history"])
    minicnn.save(found["model"], io.BytesIO())


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_refused_is_named(zipped):
    x = torch.arange(6.0)
    for obj, message in [
        (torch.nn.Linear(2, 2), r"asks for torch\.nn\.modules\.linear\.Linear"),
        (x.to_sparse(), "for a sparse tensor"),
        (x.to(torch.float8_e4m3fn), "torch.float8_e4m3fn, a type that NumPy does not have"),
        (torch.ones(2, dtype=torch.complex64).conj(), r"save its resolve_conj\(\)"),
        (x.untyped_storage(), "a bare storage"),
    ]:
        with pytest.raises(FormatError, match=message):
            through(obj, zipped)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in ("bfloat16", "complex128")])
def test_state_dicts_travel_to_pytorch_and_back(dtype, tmp_path):
    """Through safetensors there, through torch.save back: the same bits."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2 if dtype == "bool" else 100, (3, 4)).astype(dtype)
    state = OrderedDict(w=base, turned=base.T, tied=base, one=np.array(base[1, 2]), none=base[:0])
    ours = OrderedDict((name, minicnn.Tensor(array)) for name, array in state.items())
    minicnn.save(ours, tmp_path / "a.safetensors", metadata={"arch": "net", "format": "pt"})
    theirs = torch_files.load_file(tmp_path / "a.safetensors")
    # "tied" is stored once, under the name that came first
    assert set(theirs) == set(state) - {"tied"}
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(tensor.numpy(), state[name])
    for zipped in (True, False):
        torch.save(theirs, tmp_path / "b.pth", _use_new_zipfile_serialization=zipped)
        back = minicnn.load(tmp_path / "b.pth")
        for name in theirs:
            np.testing.assert_array_equal(back[name].array, state[name])
            assert back[name].dtype == state[name].dtype
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata()["arch"] == "net"
    assert read_metadata(tmp_path / "a.safetensors") == {"arch": "net", "format": "pt"}


def test_safetensors_of_pytorch(tmp_path):
    x = torch.randn(3, 4)
    tensors = {d: x.to(getattr(torch, d)) for d in DTYPES if d not in ("complex128",)}
    torch_files.save_file(tensors, tmp_path / "x.safetensors", {"format": "pt"})
    for name, found in minicnn.load(tmp_path / "x.safetensors").items():
        same(found, tensors[name])


def test_every_bfloat16():
    x = torch.arange(2**16).to(torch.uint16).view(torch.bfloat16)
    for zipped in (True, False):
        found = through(x, zipped)
        np.testing.assert_array_equal(found.array, x.float().numpy())
        keep = ~np.isnan(found.array)
        assert (found.array.view(np.uint32)[keep] & 0xFFFF == 0).all()


def test_archives_without_checksums_and_of_other_alignment(tmp_path):
    from torch.serialization import set_crc32_options

    x = torch.arange(6.0)
    set_crc32_options(False)
    try:
        same(through(x), x)
    finally:
        set_crc32_options(True)
    torch.save(x, tmp_path / "named.pth")  # the folder in it has the file's name
    same(minicnn.load(tmp_path / "named.pth"), x)


def test_a_state_dict_of_a_net_enters_the_same_net():
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(4 * 36, 10),
    ).eval()  # fmt: skip
    ours = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)
    ).eval()
    ours.load_state_dict(through(theirs.state_dict()))
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        expected = theirs(x).numpy()
    np.testing.assert_allclose(
        ours(minicnn.tensor(x.numpy())).array, expected, rtol=1e-4, atol=1e-5
    )
