"""Checks of what networks are made with, and the texts of their errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def check_sizes(network: str, optional: Iterable[str] = (), **sizes: Any) -> None:
    """ValueError unless each of `sizes` is an integer above 0, or None where it is `optional`."""
    for name, size in sizes.items():
        if size is None and name in optional:
            continue
        if type(size) is not int or size < 1:
            wanted = "a positive integer or None" if name in optional else "a positive integer"
            raise ValueError(f"{network}: {name} expects {wanted}, got {size!r}")


def check_flag(network: str, **flags: Any) -> None:
    """ValueError unless each of `flags` is True or False."""
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ValueError(f"{network}: {name} expects True or False, got {flag!r}")


def check_choice(network: str, name: str, value: Any, choices: Iterable[Any]) -> None:
    """ValueError unless `value` is one of `choices`."""
    choices = list(choices)
    if not any(value is choice or (type(value) is str and value == choice) for choice in choices):
        listed = ", ".join(str(choice) for choice in choices)
        raise ValueError(f"{network}: {name} expects one of {listed}, got {value!r}")


def fix_options(network: str, fixed: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """`options` completed by what makes this network; ValueError where one contradicts it."""
    for name, value in fixed.items():
        if options.get(name, value) != value:
            raise ValueError(f"{network}: {name} is {value!r} here, got {options[name]!r}")
    return {**options, **fixed}
