"""The README's Python runs as it stands, its links lead somewhere, its commands exist."""

import importlib.util
import re
from pathlib import Path

import pytest

import minicnn

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.slow
def test_ten_lines_train_lenet(capsys):
    """The first block, with its ten lines of code, learns the digits."""
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) <= 11
    exec(BLOCKS[0], {})
    accuracy = float(re.search(r"'accuracy': ([0-9.]+)", capsys.readouterr().out).group(1))
    assert accuracy > 0.95


@pytest.mark.parametrize("block", BLOCKS[1:], ids=lambda b: b.splitlines()[0])
def test_other_blocks_run(block):
    exec(block, {})


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_commands_exist():
    from typer.main import get_command

    from minicnn.cli.app import app

    commands = get_command(app).commands
    for name in re.findall(r"^minicnn ([a-z]+)", TEXT, re.MULTILINE):
        assert name in commands, name


def test_models_and_data_sets_it_names_exist():
    for name in ("lenet", "vgg11", "vgg19_bn"):
        assert name in minicnn.models.list_models()
    assert {"digits", "mnist", "fashion-mnist"} <= set(minicnn.datasets.available())


def test_the_table_of_operations_is_up_to_date():
    """`python scripts/reference_table.py` writes it."""
    path = ROOT / "scripts" / "reference_table.py"
    spec = importlib.util.spec_from_file_location("reference_table", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.updated(TEXT) == TEXT


def test_the_number_of_configurations_it_claims_is_true():
    claimed = int(re.search(r"([0-9,]+) in all", TEXT).group(1).replace(",", ""))
    compared = sum(op.count for op in minicnn.catalog.ops().values() if op.torch)
    assert claimed <= compared < claimed * 1.1
