"""What a few configurations of an op show of it is all that there is."""

from __future__ import annotations

import pytest

from minicnn import backend, catalog

OPS = {name: op for name, op in catalog.ops().items() if op.gradient}


@pytest.mark.parametrize("name", OPS)
@pytest.mark.slow
def test_the_first_configurations_take_every_way(name):
    """What `minicnn gradcheck` tries, and the table tells, is not less than what there is.

    Where this fails, let the entry draw what decides between the ways with draw.turn.
    """
    op = OPS[name]
    few, many = catalog.facts(op), catalog.facts(op, max(40, op.count))
    own = {f.__name__ for f in many.functions - few.functions if f.__module__ == op.module.__name__}
    assert not own and many.primitives == few.primitives
    assert (few.second, few.backends) == (many.second, many.backends)


def test_what_cannot_be_checked_may_have_a_gradient_all_the_same():
    ops = catalog.ops()
    known = {name: catalog.facts(ops[name]).gradient for name in ("float", "half", "int", "eq")}
    assert known == {"float": True, "half": True, "int": False, "eq": False}


def test_backends_are_told_as_they_are_written_on_a_machine_without_a_gpu_too(monkeypatch):
    ops = catalog.ops()
    monkeypatch.setattr(backend, "why_not", lambda name: f"no {name} here")
    found = {name: catalog.facts.__wrapped__(ops[name]).backends for name in ("conv2d", "relu6")}
    assert found == {"conv2d": ("reference", "cpu", "cuda"), "relu6": ()}
