"""Random numbers: one generator a device, and one seed for all of them.

All generators draw on the host, and what they draw is moved: the same seed gives the same numbers
on every device. Masks of dropout are computed where they are needed, from one number of a stream.

The bits come from Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011), a counter-based generator: block number t of the stream is a pure function of t and of the
key, which is the seed. So a device can compute any part of the same stream, and the same seed gives
the same bits everywhere. Dropout takes one number of a stream as the key of another, its mask's.
"""

from __future__ import annotations

import os
import threading
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator as NumpyGenerator

# A Generator that nobody seeded starts here, PyTorch's number: equal programs, equal results.
_DEFAULT_SEED = 67280421310721

# Marks the byte strings that `get_state` makes; its last byte is the version of the layout.
_MAGIC = int.from_bytes(b"minicnn\x01", "little")
_WORDS = 15  # magic, seed, counter x4, key x2, buffer x4, buffer_pos, has_uint32, uinteger

_MAKING = threading.Lock()


def _checked_seed(function: str, seed: Any) -> int:
    """`seed` in 0 .. 2^64-1; a negative one counts back from 2^64, as in PyTorch."""
    try:
        value = index(seed)
    except TypeError:
        raise TypeError(f"{function}: seed expects an integer, got {seed!r}") from None
    if not -(2**63) <= value < 2**64:
        raise ValueError(f"{function}: seed expects -2^63 <= seed < 2^64, got {value}")
    return value % 2**64


def _place(function: str, device: Any) -> str:
    """The device's name: cpu, or another type with its number."""
    kind, _, index = str(device).partition(":")
    if kind not in ("cpu", "cuda", "emulator") or not (index or "0").isdigit():
        raise ValueError(f"{function}: device expects 'cpu', 'cuda' or 'emulator', got {device!r}")
    return kind if kind == "cpu" else f"{kind}:{index or 0}"


class Generator:
    """A stream of random bits on one device, as torch.Generator.

    `numpy` is the numpy.random.Generator that draws from it; everything random in minicnn takes its
    numbers there.
    """

    def __init__(self, device: Any = "cpu") -> None:
        self.device = _place("Generator", device)
        self._seed = _DEFAULT_SEED
        self._numpy: NumpyGenerator | None = None

    @property
    def numpy(self) -> NumpyGenerator:
        """The numpy.random.Generator over this stream."""
        # Made at first use: numpy.random is a fifth of the cost of importing NumPy.
        if self._numpy is None:
            with _MAKING:  # two threads that come first at once would each begin the stream
                if self._numpy is None:
                    self._numpy = np.random.Generator(np.random.Philox(key=self._seed))
        return self._numpy

    def manual_seed(self, seed: int) -> Generator:
        """Begins the stream of `seed` anew; returns self.

        Raises:
            TypeError: seed is not an integer.
            ValueError: seed is outside -2^63 .. 2^64-1.
        """
        self._restart(_checked_seed("Generator.manual_seed", seed))
        return self

    def _restart(self, seed: int) -> None:
        """Begins the stream of `seed`, under the `numpy` object that callers may hold."""
        self._seed = seed
        if self._numpy is not None:
            self._numpy.bit_generator.state = np.random.Philox(key=seed).state

    def initial_seed(self) -> int:
        """The seed the stream began with."""
        return self._seed

    def seed(self) -> int:
        """Begins the stream of a seed that the operating system draws; returns that seed."""
        self._restart(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def get_state(self) -> np.ndarray:
        """Where the stream stands, as 120 bytes (uint8) for `set_state`."""
        state = self.numpy.bit_generator.state
        words = [
            _MAGIC,
            self._seed,
            *state["state"]["counter"].tolist(),
            *state["state"]["key"].tolist(),
            *state["buffer"].tolist(),
            state["buffer_pos"],
            state["has_uint32"],
            state["uinteger"],
        ]
        return np.array(words, "<u8").view(np.uint8)

    def set_state(self, new_state: Any) -> None:
        """Goes back to where `get_state` was called; what comes then is the same, bit for bit.

        Raises:
            ValueError: not the bytes of `get_state`. The stream is then unchanged.
        """
        words = _checked_state(new_state)
        _, seed, *rest = words.tolist()
        state = {
            "bit_generator": "Philox",
            "state": {"counter": words[2:6], "key": words[6:8]},
            "buffer": words[8:12],
            "buffer_pos": rest[10],
            "has_uint32": rest[11],
            "uinteger": rest[12],
        }
        self.numpy.bit_generator.state = state
        self._seed = seed

    def __repr__(self) -> str:
        return f"<minicnn.Generator device='{self.device}' seed={self._seed}>"


def _checked_state(new_state: Any) -> np.ndarray:
    """The 15 words of a state that `get_state` made."""
    array = np.asarray(new_state)
    if array.dtype != np.uint8 or array.shape != (8 * _WORDS,):
        raise ValueError(
            f"Generator.set_state: new_state expects uint8 of shape ({8 * _WORDS},), as get_state "
            f"returns, got {array.dtype} of shape {array.shape}"
        )
    words = np.frombuffer(array.tobytes(), "<u8").astype(np.uint64)
    magic, seed, *rest = words.tolist()
    key, (buffer_pos, has_uint32, uinteger) = rest[4:6], rest[10:13]
    sound = buffer_pos <= 4 and has_uint32 <= 1 and uinteger < 2**32 and key == [seed, 0]
    if magic != _MAGIC or not sound:
        raise ValueError("Generator.set_state: new_state is not what get_state returned")
    return words


_default = Generator()
_default.seed()
_of_device: dict[str, Generator] = {"cpu": _default}


def default_generator(device: Any = "cpu") -> Generator:
    """The generator that functions without a `generator` argument draw from on that device.

    A device's generator begins where the last `manual_seed` put it, or with the CPU's seed.

    Raises:
        ValueError: there is no such kind of device.
    """
    name = _place("default_generator", device)
    if name not in _of_device:
        with _MAKING:
            if name not in _of_device:
                _of_device[name] = Generator(name).manual_seed(_default.initial_seed())
    return _of_device[name]


def manual_seed(seed: int) -> Generator:
    """Seeds the default generator of every device; returns the CPU's.

    Raises:
        TypeError: seed is not an integer.
        ValueError: seed is outside -2^63 .. 2^64-1.
    """
    value = _checked_seed("manual_seed", seed)
    for generator in list(_of_device.values()):
        generator.manual_seed(value)
    return _default


_held: list[Any] = []  # the locks that a fork under way has taken


def _before_fork() -> None:
    """Waits until no thread draws: a child would find its lock taken for ever."""
    _MAKING.acquire()
    for generator in _of_device.values():
        if generator._numpy is not None:
            lock = generator._numpy.bit_generator.lock
            lock.acquire()
            _held.append(lock)


def _after_fork() -> None:
    """In the parent and in the child."""
    while _held:
        _held.pop().release()
    _MAKING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


def initial_seed() -> int:
    """The seed that the default generator's stream began with."""
    return _default.initial_seed()


def seed() -> int:
    """Begins the default stream of a seed that the operating system draws; returns that seed."""
    return _default.seed()


def get_rng_state() -> np.ndarray:
    """Where the default generator stands, for `set_rng_state` (uint8 array)."""
    return _default.get_state()


def set_rng_state(new_state: Any) -> None:
    """Takes the default generator back to where `get_rng_state` was called. ValueError as there."""
    _default.set_state(new_state)
