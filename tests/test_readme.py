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
    if "emulator" in block and (reason := minicnn.backend.why_not("emulator")) is not None:
        pytest.skip(reason)
    exec(block, {})


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_every_derivation_is_listed():
    """Every file that derives an operation's gradient, before the reference."""
    listed = set(re.findall(r"\]\((minicnn/[^)]+)\)", TEXT.partition("## Reference")[0]))
    ops = [op for op in minicnn.catalog.ops().values() if op.gradient and op.section]
    files = {f"{op.module.__name__.replace('.', '/')}.py" for op in ops}
    assert len(files) > 30 and files <= listed, sorted(files - listed)


def test_the_engine_is_as_short_as_it_claims():
    files = [ROOT / "minicnn" / "autograd" / f"{n}.py" for n in ("tensor", "function", "engine")]
    assert sum(len(f.read_text(encoding="utf-8").splitlines()) for f in files) <= 1000


def test_every_room_is_on_the_plan():
    plan = TEXT.partition("## How it is built")[2].partition("## Reference")[0]
    for room in (ROOT / "minicnn").iterdir():
        if room.name == "backends":  # which holds names of PyTorch's, and no code
            continue
        if (room / "__init__.py").exists():
            assert f"{room.name}/" in plan, room.name


def test_what_it_says_is_missing_is_missing():
    missing = TEXT.partition("## Not yet")[2].partition("## Licence")[0]
    names = re.findall(r"`([a-z_]+2?d?|SyncBatchNorm)`", missing.partition("Of what")[2])
    assert len(names) == 3
    for name in names:
        assert not hasattr(minicnn.nn.functional, name) and not hasattr(minicnn.nn, name), name


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
