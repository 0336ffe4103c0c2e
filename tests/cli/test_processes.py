"""The command as a process of its own: terminal, signals, start-up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import minicnn

pytest.importorskip("typer")


def start(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(
        [sys.executable, "-m", "minicnn", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        **options,
    )


FAST = ["--batch-size", "64", "--image-size", "16"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_killed_and_resumed_to_the_same_bits(name, tmp_path):
    train = ["train", "lenet", "--data", "digits", "--epochs", "6", *FAST]
    whole = start(*train, "--out", tmp_path / "whole")
    broken = start(*train, "--out", tmp_path / "broken")
    for line in broken.stdout:
        if line.startswith("epoch 2/6"):
            broken.send_signal(getattr(signal, name))
            break
    output = broken.communicate(timeout=120)[0]
    assert broken.returncode == (-9 if name == "SIGKILL" else 130), output
    if name == "SIGINT":
        command = output.split("minicnn ", 1)[1].split()
    else:
        command = ["train", "lenet", "--data", "digits", "--out", tmp_path / "broken", "--resume"]
    resumed = start(*command)
    assert "test accuracy" in resumed.communicate(timeout=120)[0] and resumed.returncode == 0
    whole.communicate(timeout=120)
    for part in ("last", "best"):
        a, b = (minicnn.load(tmp_path / run / f"{part}.safetensors") for run in ("whole", "broken"))
        for key in a["model"]:
            assert a["model"][key].array.tobytes() == b["model"][key].array.tobytes(), key


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_an_encoding_without_the_lines_of_a_tree(encoding):
    """A Windows code page, in which output goes to a file there, has none of them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    output = subprocess.check_output(
        [sys.executable, "-m", "minicnn", "summary", "lenet"],
        env={**environment, "PYTHONIOENCODING": encoding},
    ).decode(encoding)
    assert "features: Sequential" in output and "416,520" in output
    assert ("├─ " in output) == (encoding == "utf-8")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_without_a_stdout(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    train = f'"{sys.executable}" -m minicnn train lenet --epochs 1 {" ".join(FAST)} --out run >&-'
    subprocess.run(train, shell=True, check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_live_display_in_a_terminal(tmp_path):
    import pty

    pytest.importorskip("rich")
    outer, inner = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment.update(TERM="xterm", COLUMNS="120")
    command = ["train", "lenet", "--epochs", "2", *FAST, "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "minicnn", *command], stdout=inner, stderr=inner, env=environment
    )
    os.close(inner)
    seen = b""
    while True:
        try:
            chunk = os.read(outer, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(outer)
    assert process.wait(timeout=60) == 0
    text = seen.decode(errors="replace")
    for part in ("epoch 1/2", "loss", "accuracy", "images/s", "left", "━", "test accuracy"):
        assert part in text


@pytest.mark.slow
def test_help_loads_neither_matplotlib_nor_pillow():
    code = (
        "import sys\n"
        "from minicnn.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'matplotlib', 'PIL', 'pooch', 'minicnn.nn', 'minicnn.optim'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
