"""Is a network of ours the same function as one of PyTorch's?

Both get the same weights, inputs and cotangents. Outputs, the gradients of every parameter and of
the input, and the buffers are compared.

    oracle = torchvision().models.alexnet()
    net = models.alexnet(init_weights=False)
    same_keys(net, oracle)
    stir(oracle)
    load_from_torch(net, oracle)
    compare(net, oracle, images(2, 3, 63), rtol=1e-9)
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minicnn


def images(n: int, channels: int, side: int, dtype: Any = np.float64, seed: int = 0) -> np.ndarray:
    """Normal noise (n, channels, side, side)."""
    return np.random.default_rng(seed).normal(size=(n, channels, side, side)).astype(dtype)


def count(net: Any) -> int:
    """The number of parameters."""
    return sum(p.numel() for p in net.parameters())


def weightless(make: Any, **options: Any) -> Any:
    """`make(**options)` of PyTorch without memory for its weights: enough for `same_keys`."""
    import torch

    with torch.device("meta"):
        return make(**options)


def same_keys(net: Any, oracle: Any) -> None:
    """The state_dicts have the same keys in the same order, of the same shapes and dtypes."""
    ours = [(k, tuple(v.shape), np.dtype(v.dtype).name) for k, v in net.state_dict().items()]
    theirs = [
        (k, tuple(v.shape), str(v.dtype).removeprefix("torch."))
        for k, v in oracle.state_dict().items()
    ]
    assert ours == theirs


def stir(oracle: Any, seed: int = 0) -> None:
    """Gives the oracle's batch norms factors, shifts and statistics that are not 1 and 0.

    So a network that takes one for another, or leaves one out, is found out.
    """
    import torch

    rng = np.random.default_rng(seed)
    for module in oracle.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            size = module.num_features
            for name, values in (
                ("weight", rng.uniform(0.5, 1.5, size)),
                ("bias", rng.normal(0, 0.1, size)),
                ("running_mean", rng.normal(0, 0.1, size)),
                ("running_var", rng.uniform(0.5, 1.5, size)),
            ):
                getattr(module, name).data.copy_(torch.from_numpy(values))


def same_start(net: Any, oracle: Any) -> None:
    """Fresh parameters are drawn alike: the same constants, or the same deviation and mean size.

    The mean size, in deviations, is 0.80 of a normal and 0.87 of a uniform distribution. Tensors of
    fewer than 4000 numbers are too small to tell.
    """
    expected = dict(oracle.named_parameters())
    for name, p in net.named_parameters():
        ours, theirs = p.array, expected[name].detach().numpy()
        if theirs.std() == 0:
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
        elif ours.size >= 4000:
            for measure in (np.std, lambda a: np.abs(a).mean() / a.std()):
                a, b = float(measure(ours)), float(measure(theirs))
                assert abs(a - b) < 6 / np.sqrt(2 * ours.size) * b, f"{name}: {a:.4g}, not {b:.4g}"


def load_from_torch(net: Any, oracle: Any) -> Any:
    """Copies the oracle's state_dict into `net`, key by key, all of them; returns `net`."""
    net.load_state_dict({k: v.detach().numpy() for k, v in oracle.state_dict().items()})
    return net


def compare(
    net: Any, oracle: Any, x: np.ndarray, rtol: float, training: bool = False, seed: int = 1
) -> None:
    """Runs both forward and backward on `x`, in its dtype, from random cotangents.

    Both networks are cast to that dtype and put into evaluation or training mode. What must agree:
    every output (of a tuple, those that are not None), every parameter's gradient, the input's, and
    every buffer afterwards; each to `rtol` of its own largest number.
    """
    import torch

    xs = minicnn.Tensor(x.copy()).requires_grad_()
    xt = torch.from_numpy(x.copy()).requires_grad_()
    net.to(x.dtype).train(training)
    oracle.to(xt.dtype).train(training)
    ours, theirs = _outputs(net(xs)), _outputs(oracle(xt))
    assert len(ours) == len(theirs)
    rng = np.random.default_rng(seed)
    loss, oracle_loss = 0.0, 0.0
    for i, (y, expected) in enumerate(zip(ours, theirs, strict=True)):
        assert_close(y.array, expected.detach().numpy(), rtol, f"output {i}")
        weights = rng.normal(size=y.shape).astype(x.dtype)
        loss = loss + (y * minicnn.Tensor(weights)).sum()
        oracle_loss = oracle_loss + (expected * torch.from_numpy(weights)).sum()
    net.zero_grad()
    oracle.zero_grad()
    loss.backward()
    oracle_loss.backward()
    assert_close(xs.grad.array, xt.grad.numpy(), rtol, "the gradient of the input")
    _compare_gradients(net, oracle, rtol)
    buffers = dict(oracle.named_buffers())
    for name, buffer in net.named_buffers():
        assert_close(buffer.array, buffers[name].numpy(), rtol, name)


def _outputs(result: Any) -> list[Any]:
    """The tensors that a network returned, by themselves or in a tuple."""
    return [y for y in result if y is not None] if isinstance(result, tuple) else [result]


def _compare_gradients(net: Any, oracle: Any, rtol: float) -> None:
    """A bias in front of a batch norm has no gradient but rounding: `floor` lets that pass."""
    expected = {name: p.grad for name, p in oracle.named_parameters()}
    assert expected.keys() == dict(net.named_parameters()).keys()
    largest = max(float(g.abs().max()) for g in expected.values() if g is not None)
    for name, p in net.named_parameters():
        assert (p.grad is None) == (expected[name] is None), name
        if p.grad is not None:
            floor = 100 * np.finfo(p.dtype).eps * largest
            assert_close(p.grad.array, expected[name].numpy(), rtol, f"grad of {name}", floor)


def assert_close(
    ours: np.ndarray, theirs: np.ndarray, rtol: float, what: str, floor: float = 0.0
) -> None:
    """The largest difference is at most `rtol` of the largest expected number (and not NaN)."""
    assert ours.shape == theirs.shape, f"{what}: {ours.shape}, expected {theirs.shape}"
    difference = np.abs(ours.astype(np.float64) - theirs).max(initial=0.0)
    allowed = max(rtol * float(np.abs(theirs.astype(np.float64)).max(initial=0.0)), floor)
    assert difference <= allowed, f"{what}: differs by {difference:.3g}, allowed {allowed:.3g}"


def seen_by_the_middle(net: Any, layers: tuple[str, ...], side: int) -> list[int]:
    """The size of the receptive field of a unit in the middle, after `layers` in turn.

    By gradients, on images of `side`, with weights and pixels that cannot cancel.
    """
    net = net.double().eval()
    for value in net.parameters():  # no dead ReLU either
        value.array[...] = np.abs(value.array)
    x = minicnn.Tensor(np.abs(images(1, 3, side))).requires_grad_()
    y = x
    for name in layers:
        y = getattr(net, name)(y)
    middle = y.shape[-1] // 2
    y[0, :, middle, middle].sum().backward()
    touched = np.argwhere(x.grad.array[0, 0])
    return (touched.max(0) - touched.min(0) + 1).tolist()
