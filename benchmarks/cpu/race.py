"""Contenders that take turns at the same work, and a watch on what else the cores do meanwhile."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .contender import Contender, Failed

_TURN = 0.15  # seconds that a turn aims at
_MOST = 500  # steps in a turn
_LONG = 0.25  # seconds: a step as long as that needs no other before it to fill the caches
_PAUSE = 0.02  # seconds between turns, in which the threads of the one before fall asleep
_KNOWN = 0.5  # seconds of turns from which on the watch, in ticks of 0.01 s, says something
_SLOW = 5.0  # who takes so many times as long as the fastest leaves after the first rounds


class Race:
    """Rounds of turns.

    `times` holds, by label, the seconds of every step's parts; `failed` why somebody dropped out.

    Args:
        contenders: those that have prepared the work.
        limit: seconds that a turn may take; the first one, which may compile, twice as many.
    """

    def __init__(self, contenders: Sequence[Contender], limit: float = 60.0) -> None:
        self._limit = limit
        self._running = {contender.label: contender for contender in contenders}
        self._steps: dict[str, int] = {}  # a turn
        self.times: dict[str, list[list[float]]] = {}
        self.failed: dict[str, str] = {}
        self._ours = self._all = self._wall = 0.0  # seconds of processors, and of the clock

    def run(self, seconds: float, rounds: int, slow_rounds: int = 3) -> None:
        """Rounds until the seconds are over, but at least `rounds`; `slow_rounds` for the slow."""
        for label in list(self._running):
            self._warm_up(label)
        stop, done = time.monotonic() + seconds, 0
        while self._running and (done < rounds or time.monotonic() < stop):
            for label in list(self._running):
                if done < slow_rounds or not self._is_slow(label):
                    self._turn(label)
            done += 1

    def median(self, label: str) -> float:
        """Seconds of a step, all parts together."""
        return statistics.median(map(sum, self.times[label]))

    def others(self) -> float:
        """How many cores worked for other processes during the turns; 0 where that is unknown."""
        return max(0.0, self._all - self._ours) / self._wall if self._wall > _KNOWN else 0.0

    def _is_slow(self, label: str) -> bool:
        return self.median(label) > _SLOW * min(map(self.median, self._running))

    def _warm_up(self, label: str) -> None:
        """Two steps that do not count, or more if they are short; then how many make a turn."""
        if self._ask(label, 1, 2 * self._limit) is None:
            return
        told = self._ask(label, 1, 2 * self._limit)
        if told is not None and sum(told["parts"][-1]) < _LONG:
            told = self._ask(label, 3, self._limit)
        if told is not None:
            once = sum(told["parts"][-1])
            self._steps[label] = 1 if once > _LONG else max(2, min(_MOST, round(_TURN / once)))
            self.times[label] = []

    def _turn(self, label: str) -> None:
        steps = self._steps[label]
        cold = 1 if steps > 1 else 0  # the first finds what others left in the caches
        before = busy_seconds()
        told = self._ask(label, cold + steps, self._limit)
        if told is not None:
            self.times[label] += told["parts"][cold:]
            if before is not None:
                self._ours += told["cpu"]
                self._all += (busy_seconds() or before) - before
                self._wall += told["wall"]
        time.sleep(_PAUSE)

    def _ask(self, label: str, steps: int, limit: float) -> dict[str, Any] | None:
        try:
            return self._running[label].ask("steps", limit, count=steps)
        except Failed as reason:
            self.failed[label] = str(reason)
            del self._running[label]
            self.times.pop(label, None)
            return None


def busy_seconds() -> float | None:
    """Seconds that the cores this process may use have worked, for anybody; None if unknown.

    From Linux's /proc/stat, where a virtual machine's time that its host took (steal) counts too.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    ticks = 0
    for name, *values in map(str.split, lines):
        if name in mine:
            user, nice, system, _, _, interrupts, soft, steal = map(int, values[:8])
            ticks += user + nice + system + interrupts + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK")
