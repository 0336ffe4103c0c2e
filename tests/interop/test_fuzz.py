"""The quick part of scripts/fuzz_files.py; the script itself runs it at length."""

from __future__ import annotations

import sys
import threading

import pytest

pytest.importorskip("resource", reason="the guard counts memory as Unix systems do")
import fuzz_files


@pytest.mark.slow
def test_thousands_of_damaged_files_do_no_harm():
    assert threading.current_thread() is threading.main_thread()  # where the clock can interrupt
    outcomes, failures = fuzz_files.campaign(2500, seed=12345)
    assert not failures
    kinds = {(name, how) for name, how, _ in outcomes}
    assert len(kinds) == 21 and sum(outcomes.values()) == 2500
    judged = [sum(n for key, n in outcomes.items() if key[2] == how) for how in ("read", "refused")]
    assert min(judged) > 200


def test_the_guard_sees_what_it_is_to_see(monkeypatch):
    """A loader that misbehaves is found out, in each of the ways that count."""
    guard = fuzz_files.Guard()

    def judged(load):
        monkeypatch.setattr(fuzz_files.minicnn, "load", load)
        outcome, why = guard.load(b"abc", traced=True)
        assert outcome == "FAILED"
        return why

    assert "did open" in judged(lambda *a, **k: open(__file__, "rb").close())
    assert "did compile" in judged(lambda *a, **k: eval("1"))
    assert "did import" in judged(lambda *a, **k: sys.modules.pop("this", 0) or __import__("this"))
    assert "KeyError" in judged(lambda *a, **k: {}[1])
    assert "took" in judged(lambda *a, **k: bytes(200 << 20))
    monkeypatch.setattr(fuzz_files, "LIMIT_SECONDS", 0.05)
    assert "more than" in judged(lambda *a, **k: all(True for _ in iter(int, 1)))


def test_files_depend_on_their_number_alone():
    once, again = (list(fuzz_files.files(60, seed=3)) for _ in range(2))
    assert once == again and len({data for _, _, data in once}) > 50
