"""Ctrl-C where it must not strike at once: it is heard a little later, and not lost.

Python makes an exception of Ctrl-C wherever the main thread happens to be. That may be half-way
through the start of a process, or where what is raised is dropped: in finalizers, and while an
extension module is loaded (those made by Cython, such as numpy.random's, register their array class
under a bare `except`).
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
import time
from collections.abc import Iterator

_owed: list[int] = []  # what a finalizer has put off and the program has not heard yet


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Ctrl-C is heard at the end of the block, however that ends.

    So is one that a finalizer has put off: in a program that makes and drops loaders in a loop, the
    moment at which it is sent again may always fall into the next finalizer.
    """
    came: list[int] = []
    try:
        with _noted(came):
            yield
    finally:
        if came or (_owed and _in_main_thread()):
            _owed.clear()
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def sent_again() -> Iterator[list[int]]:
    """For finalizers: Ctrl-C is sent again a moment after the block.

    Gives a list that is empty until Ctrl-C comes. The few calls by which a finalizer gets here and
    leaves are open still: what comes there, Python drops with a message, as in any finalizer.
    """
    came: list[int] = []
    try:
        with _noted(came):
            yield came
    finally:
        if came:
            _owed.append(signal.SIGINT)
            with contextlib.suppress(RuntimeError):  # the interpreter is ending
                _thread.start_new_thread(_send, ())  # Thread.start would wait in the finalizer


@contextlib.contextmanager
def _noted(came: list[int]) -> Iterator[None]:
    """Ctrl-C does nothing but to put something into the list."""
    before = signal.getsignal(signal.SIGINT) if _in_main_thread() else None
    if not callable(before):  # the program ignores it, or dies of it
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _send() -> None:
    time.sleep(0.05)
    if not _owed:
        return
    _owed.clear()
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
