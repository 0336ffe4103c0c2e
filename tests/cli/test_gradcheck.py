"""`minicnn gradcheck`: its table, its exit code, what it refuses."""

from __future__ import annotations

import pytest

from minicnn import catalog
from minicnn.backend import cpu

typer_testing = pytest.importorskip("typer.testing")
from minicnn.cli.app import app  # noqa: E402


def call(*arguments, code=0):
    result = typer_testing.CliRunner().invoke(app, ["gradcheck", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_the_table_says_op_configurations_error_and_verdict():
    lines = call("conv2d", "-n", 3).splitlines()
    assert lines[0].split() == ["op", "configurations", "worst", "error", "verdict"]
    name, count, error, *verdict = lines[-2].split()
    assert (name, count, verdict) == ("conv2d", "3", ["right,", "twice"])
    assert 0 < float(error) < 1e-8
    assert lines[-1] == "1 operation, 0 wrong"


def test_a_family_stands_for_its_operations():
    names = {line.split()[0] for line in call("conv", "-n", 1, "--first-only").splitlines()}
    assert {op.name for op in catalog.ops().values() if op.family == "conv"} <= names


def test_the_reference_loops_can_be_checked():
    assert "right" in call("conv2d", "-n", 1, "--first-only", "--backend", "reference")


def test_a_wrong_backward_is_shown_and_fails(monkeypatch):
    right = cpu.conv_grad_weight
    monkeypatch.setattr(cpu, "conv_grad_weight", lambda *args: 2 * right(*args))
    output = call("conv2d", code=1)
    assert "WRONG" in output and "1 operation, 1 wrong" in output
    assert "conv2d, configuration 0: float64(" in output and "Judgement: wrong backward" in output


def test_unknown_names_are_refused():
    assert "there is no operation 'conv2'; did you mean conv2d" in call("conv2", code=1)
    assert "use_backend: name expects one of" in call("conv2d", "--backend", "gpu", code=1)
