"""nn.utils: clipping gradients, parameters as one vector."""

import math

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import minicnn
from minicnn import nn
from minicnn.nn import utils


def with_gradients(*arrays):
    params = []
    for a in arrays:
        p = nn.Parameter(minicnn.zeros(*np.shape(a)))
        p.grad = minicnn.tensor(np.asarray(a, "float32"))
        params.append(p)
    return [*params, nn.Parameter(minicnn.zeros(3))]  # the last has no gradient


@pytest.mark.parametrize(
    "norm_type, norm", [(2.0, 5.0), (1, 7.0), (math.inf, 4.0), ("inf", 4.0), (3.0, 91 ** (1 / 3))]
)
def test_clip_grad_norm(norm_type, norm):
    params = with_gradients([[0.0, 3.0]], [4.0])
    total = utils.clip_grad_norm_(iter(params), 1.0, norm_type)
    assert total.item() == pytest.approx(norm, rel=1e-6)
    np.testing.assert_allclose(params[0].grad.array, [[0, 3 / norm]], rtol=1e-5)
    np.testing.assert_allclose(params[1].grad.array, [4 / norm], rtol=1e-5)
    assert params[2].grad is None
    assert params[0].grad.dtype == minicnn.float32
    assert utils.clip_grad_norm_(params, 1.0, norm_type).item() == pytest.approx(1, rel=1e-5)


def test_small_gradients_are_left_alone():
    (p, _) = with_gradients([0.3, 0.4])
    assert utils.clip_grad_norm_(p, 1.0).item() == pytest.approx(0.5)
    np.testing.assert_array_equal(p.grad.array, np.float32([0.3, 0.4]))
    assert utils.clip_grad_norm_([], 1.0).item() == 0
    assert utils.get_total_norm([p.grad, p.grad]).item() == pytest.approx(math.sqrt(0.5))


def test_what_keeps_clipping_from_dividing_by_zero():
    """PyTorch adds 1e-6 to the norm, which tiny gradients show."""
    (p, _) = with_gradients([1e-6])
    utils.clip_grad_norm_(p, 1e-6)
    np.testing.assert_allclose(p.grad.array, [5e-7], rtol=1e-6)


def test_gradients_that_are_not_finite():
    (p, _) = with_gradients([math.inf, 1.0])
    with pytest.raises(RuntimeError, match="inf"):
        utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(p.grad.array, [math.inf, 1])
    with np.errstate(invalid="ignore"):
        assert utils.clip_grad_norm_(p, 1.0).item() == math.inf
    assert math.isnan(p.grad.array[0]) and p.grad.array[1] == 0


def test_float16_gradients_do_not_overflow():
    p = nn.Parameter(np.zeros(100, "float16"))
    p.grad = minicnn.full((100,), 300.0, dtype=minicnn.float16)
    assert utils.clip_grad_norm_(p, 30.0).item() == 3000
    np.testing.assert_array_equal(p.grad.array, np.full(100, 3, "float16"))


def test_the_norm_is_the_same_on_any_number_of_blas_threads():
    """The sum of so many squares in float64 BLAS shares out among its threads."""
    gradient = minicnn.randn(1_000_003, dtype=minicnn.float64)
    norms = set()
    for number in (1, 2, 3, 4):
        with threadpool_limits(number, user_api="blas"):
            norms.add(utils.get_total_norm(gradient).item())
    assert len(norms) == 1


def test_clip_grad_value():
    (p, _, _) = params = with_gradients([-3.0, 0.5, 2.0], [9.0])
    memory = p.grad.array
    utils.clip_grad_value_(params, 1.5)
    assert p.grad.array is memory
    np.testing.assert_array_equal(memory, [-1.5, 0.5, 1.5])
    assert params[1].grad.item() == 1.5


def test_parameters_as_a_vector_and_back():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vector = utils.parameters_to_vector(net.parameters())
    assert vector.shape == (13,)
    np.testing.assert_array_equal(vector.array[:6], net[0].weight.array.ravel())
    (vector * vector).sum().backward()
    np.testing.assert_allclose(net[1].bias.grad.array, 2 * net[1].bias.array)
    utils.vector_to_parameters(minicnn.arange(13.0), net.parameters())
    assert net[0].weight.tolist() == [[0, 1], [2, 3], [4, 5]] and net[1].bias.tolist() == [12]
    for bad, error in ((minicnn.zeros(12), ValueError), ([0.0] * 13, TypeError)):
        with pytest.raises(error, match="vector_to_parameters"):
            utils.vector_to_parameters(bad, net.parameters())
    assert net[1].bias.tolist() == [12]


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.5, math.inf, -math.inf, 0.0])
def test_clip_grad_norm_parity(norm_type):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype("float32") for s in ((3, 4), (5,), (2, 1, 2))]
    ours = with_gradients(*arrays)
    theirs = [torch.nn.Parameter(torch.zeros(a.shape)) for a in arrays]
    for p, a in zip(theirs, arrays, strict=True):
        p.grad = torch.tensor(a)
    a = utils.clip_grad_norm_(ours, 0.7, norm_type)
    b = torch.nn.utils.clip_grad_norm_(theirs, 0.7, norm_type)
    assert a.item() == pytest.approx(b.item(), rel=1e-5)
    for p, q in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(p.grad.array, q.grad.numpy(), rtol=1e-5)
