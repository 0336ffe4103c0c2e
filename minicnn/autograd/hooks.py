"""The handle that every register_..._hook returns."""

from __future__ import annotations

import itertools
from typing import Any


class RemovableHandle:
    """What register_..._hook returns: `remove()` takes the hook away again."""

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Any], hook: Any):
        self.id = next(self._ids)
        self._hooks = hooks
        hooks[self.id] = hook

    def remove(self) -> None:
        """Takes the hook away; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
