"""Steps of optimizers for many arrays in one launch: kernels/optim.cu.

    step = MultiTensor(params, momenta=velocities)
    step.sgd(grads, lr=0.1, momentum=0.9, first=True)

The arrays are changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from ..arrays import address, on_device_of, place
from . import sources
from .launcher import LIMIT, device_of, launch, scalar

_FILE = "optim.cu"


def fits(arrays: Sequence[Any]) -> bool:
    """True if the kernels can take these arrays together: on one device, of one dtype, each without
    gaps, and no two over the same memory."""
    if not arrays or type(arrays[0]) is np.ndarray or arrays[0].dtype.char not in "fd":
        return False
    where, dtype = place(arrays[0]), arrays[0].dtype
    alike = all(
        type(x) is not np.ndarray
        and place(x) == where
        and x.dtype == dtype
        and x.flags.c_contiguous
        and x.size < LIMIT
        for x in arrays
    )
    spans = sorted((address(x), x.nbytes) for x in arrays if x.size) if alike else []
    return alike and all(start + size <= after for (start, size), (after, _) in pairwise(spans))


@lru_cache(maxsize=64)
def _parts(device: Any, sizes: tuple[int, ...]) -> tuple[dict[str, Any], int]:
    """What each block of a launch works on, for arrays of these sizes; the number of blocks."""
    chunk = sources.read(_FILE).constants["CHUNK"]
    starts = [(t, s) for t, size in enumerate(sizes) for s in range(0, size, chunk)]
    columns = {
        "tensors": np.array([t for t, _ in starts], np.int32),
        "starts": np.array([s for _, s in starts], np.uint32),
        "sizes": np.array(sizes, np.uint32),
    }
    return {name: device.asarray(column) for name, column in columns.items()}, len(starts)


class MultiTensor:
    """Parameters, and what an optimizer remembers of each, as tables of addresses on a device.

    Args:
        params: arrays of one dtype on one device, in the order of their indices in memory.
        states: for each kind of state (momenta, squares, largest) a list of arrays like params.

    Raises:
        ValueError, TypeError: arrays that do not go together.
    """

    def __init__(self, params: Sequence[Any], **states: Sequence[Any]) -> None:
        self._params, self._states = list(params), states
        self._device = device_of(params[0])
        for name, arrays in {"params": params, **states}.items():
            self._check(name, arrays)
        self._parts, self._blocks = _parts(self._device, tuple([p.size for p in params]))
        self._tables = {
            name: self._device.pointers(arrays)
            for name, arrays in {"params": self._params, **states}.items()
        }
        self._constants = scalar(params[0].dtype)

    def _check(self, name: str, arrays: Sequence[Any]) -> None:
        if len(arrays) != len(self._params):
            raise ValueError(f"{name} expects {len(self._params)} arrays, got {len(arrays)}")
        for i, (x, p) in enumerate(zip(arrays, self._params, strict=True)):
            where = f"{name}[{i}]"
            if x.shape != p.shape or x.size >= LIMIT:
                raise ValueError(f"{where} expects shape {p.shape}, below 2^31 elements: {x.shape}")
            if x.dtype != self._params[0].dtype:
                raise TypeError(f"{where} expects {self._params[0].dtype}, got {x.dtype}")
            if not x.flags.c_contiguous:
                raise ValueError(f"{where} expects its indices' order in memory: {x.strides}")
            if device_of(x) is not self._device:
                raise ValueError(f"{where} expects an array on {self._device}")

    def _launch(self, kernel: str, grads: Sequence[Any], **arguments: Any) -> None:
        self._check("grads", grads)
        launch(
            self._device,
            _FILE,
            kernel,
            self._constants,
            grid=(self._blocks,),
            grads=self._device.pointers(grads),
            **self._parts,
            **arguments,
        )

    def sgd(
        self,
        grads: Sequence[Any],
        *,
        lr: float,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        maximize: bool = False,
        first: bool = False,
        clip: Any | None = None,
    ) -> None:
        """A step of SGD. `first`: the momenta are not set yet. clip: as clip_coefficient gives."""
        settings = self._device.asarray(np.array([lr, momentum, dampening, weight_decay], float))
        self._launch(
            "sgd",
            grads,
            params=self._tables["params"],
            velocities=self._tables["momenta"] if momentum else None,
            settings=settings,
            clip=clip,
            first=int(first),
            nesterov=int(nesterov),
            maximize=int(maximize),
        )

    def adam(
        self,
        grads: Sequence[Any],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        step: int,
        weight_decay: float = 0,
        decoupled: bool = False,
        maximize: bool = False,
        clip: Any | None = None,
    ) -> None:
        """Step number `step`, from 1 on, of Adam; with `decoupled` of AdamW."""
        settings = np.array([lr, *betas, eps, weight_decay, step], float)
        self._launch(
            "adam",
            grads,
            params=self._tables["params"],
            means=self._tables["momenta"],
            squares=self._tables["squares"],
            largest=self._tables.get("largest"),
            settings=self._device.asarray(settings),
            clip=clip,
            decoupled=int(decoupled),
            maximize=int(maximize),
        )

    def clip_coefficient(self, grads: Sequence[Any], max_norm: float) -> tuple[Any, Any]:
        """(norm of all gradients together, min(1, max_norm / norm)), arrays of one number each."""
        dtype = self._params[0].dtype
        partial = self._device.empty((self._blocks,), dtype)
        with on_device_of(self._params[0]):
            norm, clip = [self._device.empty((1,), dtype) for _ in range(2)]
        self._launch("gradient_squares", grads, partial=partial)
        launch(
            self._device,
            _FILE,
            "clip_coefficient",
            self._constants,
            grid=(1,),
            partial=partial,
            max_norm=max_norm,
            norm=norm,
            clip=clip,
            blocks=self._blocks,
        )
        return norm, clip

    def scale(self, clip: Any) -> None:
        """Multiplies the arrays by the number that clip_coefficient gave."""
        launch(
            self._device,
            _FILE,
            "scaled",
            self._constants,
            grid=(self._blocks,),
            grads=self._tables["params"],
            clip=clip,
            **self._parts,
        )
