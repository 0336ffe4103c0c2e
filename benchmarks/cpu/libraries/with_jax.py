"""JAX, the whole step compiled into one function by XLA."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import nets
from . import LR, MOMENTUM, WHOLE, functional, timed


def open(threads: int) -> Any:
    """JAX on the CPU; XLA takes as many threads as the process may use cores."""
    jax.config.update("jax_platforms", "cpu")
    jax.devices()
    return Library()


class Library:
    """JAX."""

    version = f"JAX {jax.__version__}"

    def trainer(self, net: Any, x: np.ndarray, target: np.ndarray) -> Trainer:
        """The network of nets.py, ready to be trained on a batch."""
        return Trainer(net, x, target)


class Trainer:
    """A network, its momenta and a batch."""

    parts = WHOLE

    def __init__(self, net: Any, x: np.ndarray, target: np.ndarray) -> None:
        self.params = [None if a is None else jnp.asarray(a) for a in functional.parameters(net)]
        self.momenta = [None if p is None else jnp.zeros_like(p) for p in self.params]
        self.x, self.target, self.key = jnp.asarray(x), jnp.asarray(target), jax.random.key(0)
        self.dropout = any(layer == nets.Dropout() for layer in nets.each_layer(net))
        self.compiled = jax.jit(_step(net), static_argnums=5, donate_argnums=(0, 1))
        self.value: Any = None

    def loss(self) -> float:
        """The loss at this step, for which dropout is put aside."""
        self._run(False)
        return float(self.value)

    def step(self) -> tuple[float, ...]:
        """One step."""
        return timed(lambda: self._run(self.dropout))

    def _run(self, dropout: bool) -> None:
        state = (self.params, self.momenta, self.x, self.target, self.key)
        self.params, self.momenta, self.key, self.value = self.compiled(*state, dropout)
        jax.block_until_ready((self.params, self.value))


def _step(net: Any) -> Any:
    """The function that is compiled."""

    def step(params, momenta, x, target, key, dropout):
        key, drawn = jax.random.split(key)

        def loss(params):
            logits = functional.apply(_Ops(drawn), net, x, params, dropout)
            return -jax.nn.log_softmax(logits)[jnp.arange(len(target)), target].mean()

        value, grads = jax.value_and_grad(loss)(params)
        momenta = jax.tree.map(lambda v, g: MOMENTUM * v + g, momenta, grads)
        params = jax.tree.map(lambda p, v: p - LR * v, params, momenta)
        return params, momenta, key, value

    return step


class _Ops:
    relu = staticmethod(jax.nn.relu)

    def __init__(self, key: Any) -> None:
        self.key = key

    def conv(self, x, layer, w, b):
        pad = [(layer.padding, layer.padding)] * 2
        stride = (layer.stride, layer.stride)
        y = lax.conv_general_dilated(x, w, stride, pad, feature_group_count=layer.groups)
        return y if b is None else y + b[:, None, None]

    def batch_norm(self, x, layer, weight, bias):
        mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        scale = weight[:, None, None] * lax.rsqrt(var + layer.eps)
        return (x - mean) * scale + bias[:, None, None]

    def max_pool(self, x, layer):
        size, pads = x.shape[2], layer.padding
        beyond = -(size + 2 * pads - layer.kernel) % layer.stride if layer.ceil else 0
        pad = ((0, 0), (0, 0), (pads, pads + beyond), (pads, pads + beyond))
        window, stride = (1, 1) + 2 * (layer.kernel,), (1, 1) + 2 * (layer.stride,)
        return lax.reduce_window(x, -np.inf, lax.max, window, stride, pad)

    def avg_pool(self, x, layer):
        window = (1, 1, layer.kernel, layer.kernel)
        return lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / layer.kernel**2

    def global_avg_pool(self, x):
        return x.mean((2, 3), keepdims=True)

    def flatten(self, x):
        return x.reshape(len(x), -1)

    def dropout(self, x):
        self.key, drawn = jax.random.split(self.key)
        return jnp.where(jax.random.bernoulli(drawn, 0.5, x.shape), 2 * x, 0)

    def linear(self, x, w, b):
        return x @ w.T + b

    def add(self, x, y):
        return x + y

    def concat(self, parts):
        return jnp.concatenate(parts, 1)
