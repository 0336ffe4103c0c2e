"""Switches of the engine: is a graph recorded, are NaNs hunted. Each thread has its own."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any


class _Mode(threading.local):
    """The class attributes are what a new thread starts with."""

    grad = True
    inference = False
    anomaly = False
    trace: Any = None  # what records the calls (trace.py)


mode = _current = _Mode()  # `mode` is also what PyTorch calls an argument below


class _Switch:
    """A context manager and decorator that sets attributes of `mode` and puts them back."""

    def __init__(self, **settings: Any):
        self._settings = settings
        self._before: list[dict[str, Any]] = []  # a stack: one object may be entered twice

    def __enter__(self) -> _Switch:
        self._before.append({name: getattr(mode, name) for name in self._settings})
        for name, value in self._settings.items():
            setattr(mode, name, value)
        return self

    def __exit__(self, *exc: object) -> None:
        for name, value in self._before.pop().items():
            setattr(mode, name, value)

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        settings = self._settings
        if inspect.isgeneratorfunction(fn):
            return _switched_generator(fn, settings)

        @functools.wraps(fn)
        def switched(*args: Any, **kwargs: Any) -> Any:
            with _Switch(**settings):
                return fn(*args, **kwargs)

        return switched


def _switched_generator(fn: Callable[..., Any], settings: dict[str, bool]) -> Callable[..., Any]:
    """The switch holds while the generator's own code runs, not while its caller's does."""

    @functools.wraps(fn)
    def switched(*args: Any, **kwargs: Any) -> Any:
        generator = fn(*args, **kwargs)
        try:
            while True:
                with _Switch(**settings):
                    try:
                        item = next(generator)
                    except StopIteration as stop:
                        return stop.value
                yield item
        finally:
            generator.close()

    return switched


class _PlainDecorator(_Switch):
    """A switch whose bare class decorates too: `@no_grad` as well as `@no_grad()`."""

    def __new__(cls, fn: Callable[..., Any] | None = None) -> Any:
        self = super().__new__(cls)
        if fn is None:
            return self
        cls.__init__(self)
        return self(fn)


class no_grad(_PlainDecorator):
    """No graph is recorded inside: results have `requires_grad=False`. `@no_grad()` works too."""

    def __init__(self) -> None:
        super().__init__(grad=False)


class unrecorded(_Switch):
    """Neither a graph nor a trace is recorded inside: an op is one call, whatever it is made of."""

    def __init__(self) -> None:
        super().__init__(grad=False, trace=None)


class enable_grad(_PlainDecorator):
    """A graph is recorded inside, also within `no_grad`."""

    def __init__(self) -> None:
        super().__init__(grad=True)


class inference_mode(_Switch):
    """As `no_grad`. (PyTorch also refuses its tensors in later training; minicnn does not.)"""

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        if not callable(mode):
            return self
        cls.__init__(self)
        return self(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__(grad=not mode, inference=mode)


class _AtOnce(_Switch):
    """A switch that acts from the line where it is made; a `with` around it still undoes it."""

    def __init__(self, **settings: bool):
        super().__init__(**settings)
        self._at_call = {name: getattr(_current, name) for name in settings}
        self._set(settings)

    def __enter__(self) -> _Switch:
        self._before.append(self._at_call)
        self._set(self._settings)
        return self

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        self._set(self._at_call)  # as a decorator it acts only inside fn
        return super().__call__(fn)

    @staticmethod
    def _set(settings: dict[str, bool]) -> None:
        for name, value in settings.items():
            setattr(_current, name, value)


class set_grad_enabled(_AtOnce):
    """`set_grad_enabled(False)` acts at once, and is undone at the end of a `with` around it."""

    def __init__(self, mode: bool) -> None:
        super().__init__(grad=bool(mode))


class detect_anomaly(_Switch):
    """Finds the first op whose forward or backward makes a NaN or an infinity.

    The op raises a RuntimeError that names it, the index, and the line of your code that called it.
    Slow: every result is scanned. Use it as `with minicnn.autograd.detect_anomaly():`.
    """

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(anomaly=check_nan)


class set_detect_anomaly(_AtOnce):
    """As `detect_anomaly`, but acts at once, from this line on."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(anomaly=bool(mode and check_nan))


def is_grad_enabled() -> bool:
    """True where operations record a graph."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """True inside `inference_mode()`."""
    return mode.inference


def is_anomaly_enabled() -> bool:
    """True inside `detect_anomaly()`."""
    return mode.anomaly
