"""New tensors: types, sizes, memory and random numbers."""

from __future__ import annotations

import numpy as np
import pytest

import minicnn


def kinds(lib):
    """Expressions that both libraries must give the same type and values for."""
    i64, f64 = lib.int64, lib.float64
    return [
        lib.tensor(1), lib.tensor(1.5), lib.tensor(True), lib.tensor([1, 2]), lib.tensor([1, 2.5]),
        lib.tensor([[True, False]]), lib.tensor([]), lib.tensor([[], []]), lib.tensor([1, True]),
        lib.tensor(np.ones(2)), lib.tensor(np.float64(2)), lib.tensor(np.int32(2)),
        lib.tensor([np.float32(1), np.float32(2)]), lib.tensor((1, (2)), dtype=f64),
        lib.tensor([lib.tensor(1.0), lib.tensor(2.0)]), lib.tensor(range(3)),
        lib.tensor(np.array([1, 2], "int16")), lib.tensor(2.7, dtype=i64),
        lib.as_tensor([1.0, 2.0]), lib.as_tensor(np.ones(2)), lib.as_tensor(np.ones(2), dtype=i64),
        lib.from_numpy(np.ones(2, "f2")),
        lib.zeros(2, 3), lib.zeros((2, 3)), lib.zeros([2]), lib.zeros(()), lib.zeros(0, dtype=i64),
        lib.ones(2, dtype=lib.bool), lib.full((2,), 3), lib.full((2,), 3.0), lib.full((1,), True),
        lib.full((), 2, dtype=f64), lib.full((2,), lib.tensor(1.5)),
        lib.arange(5), lib.arange(1, 5, 2), lib.arange(1.0, 2.0, 0.25), lib.arange(5, 0, -2),
        lib.arange(3, dtype=f64), lib.arange(0, 1, 0.1), lib.arange(0), lib.arange(2.5),
        lib.linspace(0, 1, 5), lib.linspace(1, -1, 3, dtype=f64), lib.linspace(0, 1, 1),
        lib.eye(3), lib.eye(2, 3, dtype=i64),
        lib.zeros_like(lib.ones(2, dtype=f64)), lib.ones_like(lib.tensor([1, 2])),
        lib.full_like(lib.tensor([1, 2]), 7), lib.zeros_like(lib.ones(2), dtype=i64),
        lib.FloatTensor([1, 2]), lib.LongTensor([1, 2]), lib.DoubleTensor([1]), lib.ByteTensor([1]),
        lib.Tensor([1, 2]), lib.IntTensor([3]), lib.BoolTensor([True]), lib.HalfTensor([1]),
        *lib.meshgrid(lib.arange(2), lib.arange(3), indexing="ij"),
        *lib.meshgrid(lib.arange(2), lib.arange(3), indexing="xy"),
        lib.ones(2).new_tensor([1, 2]), lib.tensor([1]).new_zeros(2, 3), lib.ones(1).new_ones((2,)),
        lib.tensor([1]).new_full((2,), 3.7), lib.ones(2).new_zeros(2, dtype=i64),
    ]  # fmt: skip


def test_values_and_types(parity):
    for k, (mine, theirs) in enumerate(zip(kinds(minicnn), kinds(parity.torch), strict=True)):
        assert type(mine) is minicnn.Tensor, k
        parity.same(mine, theirs, rtol=1e-6)


def test_tensor_copies_and_others_share():
    data = np.zeros(2)
    copied, shared, same = minicnn.tensor(data), minicnn.from_numpy(data), minicnn.as_tensor(data)
    data[0] = 5
    assert copied[0] == 0
    assert shared[0] == same[0] == 5
    assert minicnn.as_tensor(shared) is shared
    again = minicnn.tensor(shared)
    shared[1] = 7
    assert again[1] == 0


def test_requires_grad():
    for make in (minicnn.zeros, minicnn.ones, minicnn.empty, minicnn.rand, minicnn.randn):
        x = make(2, requires_grad=True)
        assert x.requires_grad
        assert x.is_leaf
    with pytest.raises(RuntimeError, match="only floating"):
        minicnn.tensor([1, 2], requires_grad=True)


def test_default_dtype():
    minicnn.set_default_dtype(minicnn.float64)
    try:
        assert minicnn.zeros(1).dtype == minicnn.tensor(1.0).dtype == minicnn.float64
        assert (minicnn.tensor([1]) / 2).dtype == minicnn.float64
    finally:
        minicnn.set_default_dtype(minicnn.float32)


@pytest.mark.parametrize("make", [minicnn.zeros, minicnn.rand, minicnn.tensor, minicnn.as_tensor])
def test_no_gpu(make):
    with pytest.raises(RuntimeError, match="'cuda:1': no GPU can be used"):
        make(2, device="cuda:1")
    with pytest.raises(RuntimeError, match="expected one of cpu, cuda, emulator, got 'tpu'"):
        make(2, device="tpu")
    assert make(2, device="cpu").device == minicnn.device("cpu")
    assert make(2, device=minicnn.device("cpu")).device.type == "cpu"


def test_moving_to_a_gpu():
    x = minicnn.ones(2)
    assert x.to("cpu") is x.cpu() is x
    for move in (lambda: x.cuda(), lambda: x.to("cuda"), lambda: x.to(minicnn.device("cuda", 0))):
        with pytest.raises(RuntimeError, match="no GPU can be used"):
            move()


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda lib: lib.tensor([[1, 2], [3]]), "tensor: the nested lists differ in length"),
        (lambda lib: lib.tensor(["a"]), "tensor: cannot hold values"),
        (lambda lib: lib.tensor({}), "tensor: cannot hold values"),
        (lambda lib: lib.tensor(None), "tensor: cannot hold values"),
        (lambda lib: lib.zeros(-1), "zeros: sizes expect 0 or more"),
        (lambda lib: lib.full((-2,), 1), "full: sizes expect"),
        (lambda lib: lib.zeros(2.5), "sizes are integers"),
        (lambda lib: lib.arange(0, 5, 0), "arange: step 0"),
        (lambda lib: lib.arange(0, 5, -1), "arange: step -1 does not lead from 0 to 5"),
        (lambda lib: lib.linspace(0, 1, -1), "linspace: steps"),
        (lambda lib: lib.eye(-1), "eye: sizes"),
        (lambda lib: lib.randint(3, 3, (2,)), "randint: expects low < high"),
        (lambda lib: lib.randperm(-1), "randperm: n expects"),
        (lambda lib: lib.rand(2, dtype=lib.int64), "random numbers: expects a floating type"),
        (lambda lib: lib.normal(0.0, -1.0, (2,)), "normal: std expects 0 or more"),
        (lambda lib: lib.bernoulli(lib.tensor([2.0])), "bernoulli: probabilities expect 0 to 1"),
        (lambda lib: lib.multinomial(lib.tensor([-1.0, 1.0]), 1), "multinomial: expects"),
        (lambda lib: lib.from_numpy([1]), "from_numpy: expects an ndarray, got list"),
    ],
)
def test_errors(fn, message, refuses):
    refuses(fn, match=message)


def test_multinomial_needs_enough_to_draw_from():
    with pytest.raises(RuntimeError, match="multinomial: no 2 different"):
        minicnn.multinomial(minicnn.tensor([0.0, 1.0]), 2)


# ---------------------------------------------------------------------- random numbers

DRAWS = {
    "rand": lambda **g: minicnn.rand(2000, **g),
    "randn": lambda **g: minicnn.randn(2000, **g),
    "randint": lambda **g: minicnn.randint(3, 7, (2000,), **g),
    "randperm": lambda **g: minicnn.randperm(2000, **g),
    "normal": lambda **g: minicnn.normal(2.0, 3.0, (2000,), **g),
    "normal of tensors": lambda **g: minicnn.normal(minicnn.zeros(2000), 1.0, **g),
    "bernoulli": lambda **g: minicnn.bernoulli(minicnn.full((2000,), 0.3), **g),
    "rand_like": lambda **g: minicnn.rand_like(minicnn.zeros(2000), **g),
    "randn_like": lambda **g: minicnn.randn_like(minicnn.zeros(2000), **g),
    "multinomial": lambda **g: minicnn.multinomial(minicnn.ones(5), 2000, True, **g),
    "normal_": lambda **g: minicnn.zeros(2000).normal_(**g),
    "uniform_": lambda **g: minicnn.zeros(2000).uniform_(-1, 1, **g),
    "random_": lambda **g: minicnn.zeros(2000).random_(10, **g),
    "bernoulli_": lambda **g: minicnn.zeros(2000).bernoulli_(0.5, **g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_seeds(name):
    """The same seed gives the same numbers, another seed others; so do generators of one's own."""
    draw = DRAWS[name]
    minicnn.manual_seed(1)
    first, second = draw(), draw()
    minicnn.manual_seed(1)
    assert minicnn.equal(draw(), first)
    assert not minicnn.equal(first, second)
    own = minicnn.Generator().manual_seed(1)
    assert minicnn.equal(draw(generator=own), first)
    assert minicnn.equal(draw(), second)  # the default stream did not move meanwhile


def test_moments():
    x = minicnn.rand(4000)
    assert 0 <= x.min() < 0.01 < 0.99 < x.max() < 1
    assert abs(x.mean() - 0.5) < 0.03
    x = DRAWS["normal"]()
    assert abs(x.mean() - 2) < 0.3
    assert abs(x.std() - 3) < 0.3
    assert set(DRAWS["randint"]().tolist()) == {3, 4, 5, 6}
    assert sorted(DRAWS["randperm"]().tolist()) == list(range(2000))
    assert abs(DRAWS["bernoulli"]().mean() - 0.3) < 0.05
    x = DRAWS["uniform_"]()
    assert -1 <= x.min() < -0.9 < 0.9 < x.max() < 1
    drawn = minicnn.multinomial(minicnn.tensor([[0.0, 1.0, 1.0], [3.0, 0.0, 1.0]]), 2)
    assert sorted(drawn[0].tolist()) == [1, 2]
    assert sorted(drawn[1].tolist()) == [0, 2]
    assert minicnn.zeros(1000, dtype=minicnn.int64).random_().dtype == minicnn.int64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_random_types(dtype):
    for make in (minicnn.rand, minicnn.randn):
        assert make(2, 3, dtype=np.dtype(dtype)).dtype == dtype
    assert minicnn.zeros(2, dtype=np.dtype(dtype)).normal_().dtype == dtype
    assert minicnn.rand(()).shape == ()
    assert minicnn.randn(0, 2).shape == (0, 2)


def test_questions():
    assert minicnn.is_tensor(minicnn.ones(1)) is True
    assert minicnn.is_tensor(np.ones(1)) is False
    assert minicnn.numel(minicnn.ones(2, 3)) == 6
    assert minicnn.is_floating_point(minicnn.ones(1)) is True
