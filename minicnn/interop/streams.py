"""Reading open files into memory that is there already."""

from __future__ import annotations

from typing import Any


def read_into(file: Any, target: memoryview) -> int:
    """Fills `target` from `file` and returns how many bytes there were, fewer at its end."""
    done = 0
    while done < len(target):
        if hasattr(file, "readinto"):
            n = file.readinto(target[done:])
        else:  # what is a file in name only
            data = file.read(len(target) - done)
            n = len(data)
            target[done : done + n] = data
        if not n:
            break
        done += n
    return done
