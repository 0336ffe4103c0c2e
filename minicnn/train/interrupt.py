"""Ctrl-C between two steps instead of within one."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupt:
    """While entered, the first Ctrl-C only sets `requested`; the second one acts as usual.

    A KeyboardInterrupt in the middle of an optimizer's step would leave half of the weights
    updated. Outside the main thread, and where Ctrl-C is ignored, nothing changes.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def __enter__(self) -> None:
        self.requested = False
        main = threading.current_thread() is threading.main_thread()
        if main and callable(signal.getsignal(signal.SIGINT)):
            self._before = signal.signal(signal.SIGINT, self._hear)

    def __exit__(self, *exc: object) -> None:
        self.requested = False
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _hear(self, number: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
