"""The commands, through Typer's runner: what they print, write, and refuse."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from command_line import app, call, typer_testing

import minicnn
from minicnn import datasets
from minicnn.cli import runs
from minicnn.cli.options import (
    OPTIMIZERS,
    SCHEDULERS,
    complete,
    make_optimizer,
    make_scheduler,
    restored,
)

FAST = ["--epochs", "1", "--batch-size", "256", "--image-size", "16", "--shift", "0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A LeNet for small digits, trained for two quick epochs: (folder, output)."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    options = [*FAST, "--epochs", 2, "--batch-size", 64, "--lr", 0.005]
    return folder, call("train", "lenet", "--data", "digits", "--out", folder, *options)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "report", lambda *args: [])  # pictures take a second
    return tmp_path


# ---------------------------------------------------------------------- train


def test_train_writes_the_run_folder(trained):
    folder, _ = trained
    assert sorted(p.name for p in folder.iterdir()) == [
        "best.safetensors", "config.json", "confusion.png", "curves.png", "last.safetensors",
        "metrics.csv", "mistakes.png", "result.json",
    ]  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["model"] == "lenet" and config["data"]["name"] == "digits"
    assert config["options"]["epochs"] == 2 and config["options"]["lr"] == 0.005
    with open(folder / "metrics.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    for name in ("curves", "confusion", "mistakes"):
        assert (folder / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    result = json.loads((folder / "result.json").read_text())
    assert result["test_images"] == 360 and result["test_accuracy"] > 0.5


def test_curves_show_the_epochs_after_the_best_too(tmp_path, monkeypatch):
    from minicnn.train import Trainer, plots

    drawn = []
    monkeypatch.setattr(plots, "save_curves", lambda history, path: drawn.append(len(history)))
    monkeypatch.setattr(plots, "save_confusion", lambda *args: None)
    monkeypatch.setattr(plots, "save_mistakes", lambda *args: None)
    monkeypatch.setattr(Trainer, "best_epoch", lambda self: 1)
    output = call("train", "lenet", *FAST, "--epochs", 2, "--out", tmp_path / "run")
    assert drawn == [2] and "weights of epoch 1)" in output


def test_train_tells_what_happens(trained):
    folder, output = trained
    lines = output.splitlines()
    assert lines[0] == f"training lenet on digits: {folder}"
    assert lines[1].startswith("epoch 1/2") and "val accuracy" in lines[2]
    result = json.loads((folder / "result.json").read_text())
    assert lines[3].startswith(f"test accuracy  {result['test_accuracy']:.2%}")
    assert lines[4].startswith("run folder") and str(folder) in lines[4]
    assert lines[5].startswith("try next") and f"minicnn evaluate {folder}" in lines[5]


def test_default_folders(here):
    call("train", "lenet", *FAST)
    call("train", "lenet", *FAST)
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["lenet-digits", "lenet-digits-2"]
    output = call("train", "lenet", "--resume")
    assert "resuming lenet on digits: runs/lenet-digits-2" in output.replace("\\", "/")


def test_seeds_decide_everything(here):
    def weights(seed, out):
        call("train", "lenet", *FAST, "--seed", seed, "--out", out)
        state = minicnn.load(here / out / "last.safetensors")["model"]
        return {name: value.array.tobytes() for name, value in state.items()}

    assert weights(1, "a") == weights(1, "b") != weights(2, "c")


@pytest.mark.parametrize(("optimizer", "scheduler"), list(zip(OPTIMIZERS, SCHEDULERS, strict=True)))
def test_every_optimizer_and_scheduler(optimizer, scheduler, here):
    output = call("train", "lenet", *FAST, "--optimizer", optimizer, "--scheduler", scheduler)
    assert "test accuracy" in output
    kinds = minicnn.load(here / "runs" / "lenet-digits" / "last.safetensors")["kinds"]
    assert kinds["optimizer"].lower() == optimizer
    assert scheduler in (kinds["scheduler"] or "none").lower()


def test_options_of_the_network(here):
    call("train", "lenet", *FAST, "--out", "r", "--set", "pooling=avg", "--set", "batch_norm=true")
    model = runs.open_run(here / "r").model
    kinds = [type(m).__name__ for m in model.modules()]
    assert "AvgPool2d" in kinds and "BatchNorm2d" in kinds


def test_validation_share(here):
    output = call("train", "lenet", *FAST, "--out", "r", "--validation", 0)
    assert "val loss" not in output and "train accuracy" in output
    assert minicnn.load(here / "r" / "best.safetensors")["config"]["data"]["validation"] == 0


@pytest.mark.parametrize(("size", "batches"), [(1292, 1), (1291, 2), (1293, 1), (1294, 1)])
def test_a_last_batch_of_one_image_is_left_out(size, batches, here):
    """Batch normalisation has no variance of one value; there are 1,293 training images."""
    job = runs.new_job("lenet", "digits", None, {"batch_size": size}, {}, here / "r")
    loader = runs.Training(job, []).loader
    assert len(loader.dataset) == 1293 and len(loader) == batches


@pytest.mark.slow
def test_vgg(here):
    output = call("train", "vgg11_bn", "--epochs", 1, "--image-size", 8, "--batch-size", 128)
    assert "test accuracy" in output


# ---------------------------------------------------------------------- resume


def test_resume_to_the_same_bits(here, monkeypatch):
    """Ctrl-C after the fifth batch of the second epoch, then --resume: as if nothing had been."""
    import signal

    from minicnn.cli import display
    from minicnn.train import PrintProgress

    common = ["train", "lenet", *FAST, "--epochs", 3, "--batch-size", 128]
    common += ["--shift", 2, "--flip", "--cutout", 4, "--limit", 1200]
    whole = call(*common, "--out", "whole")

    class CtrlC(PrintProgress):
        def on_batch_end(self, trainer):
            if (trainer.epoch, trainer.batch) == (1, 5):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(display, "progress", CtrlC)
    output = call(*common, "--out", "broken", code=130)
    assert "interrupted at epoch 2, batch 5" in output
    assert "minicnn train lenet --data digits --out broken --resume" in output
    monkeypatch.setattr(display, "progress", PrintProgress)
    output = call("train", "lenet", "--data", "digits", "--out", "broken", "--resume")
    assert "resuming after epoch 1, batch 5" in output
    for name in ("best", "last"):
        a, b = (minicnn.load(here / run / f"{name}.safetensors") for run in ("whole", "broken"))
        assert {k: v.array.tobytes() for k, v in a["model"].items()} == {
            k: v.array.tobytes() for k, v in b["model"].items()
        }
    results = [[x for x in text.splitlines() if "test accuracy" in x] for text in (whole, output)]
    assert results[0] == results[1] != []


def test_resume_wants_the_same_run(trained):
    folder, _ = trained
    files = {p.name: p.read_bytes() for p in folder.iterdir()}
    for arguments, message in (
        (["vgg11"], "holds a run with the model 'lenet', not 'vgg11'"),
        (["lenet", "--data", "mnist"], "holds a run with the data set 'digits', not 'mnist'"),
        (["lenet", "--lr", "0.5"], "--lr 0.5: this run was begun with 0.005"),
        (["lenet", "--epochs", "9"], "its learning rates are planned for them"),
        (["lenet", "--set", "pooling=avg"], "--set belongs to the beginning of a run"),
        (["lenet", "--validation", "0.2"], "--validation belongs to the beginning"),
    ):
        output = call("train", *arguments, "--out", folder, "--resume", code=1)
        assert message in output and output.count("\n") == 1
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files


def test_more_epochs_without_a_schedule(here):
    call("train", "lenet", *FAST, "--scheduler", "none", "--out", "r")
    call("train", "--out", "r", "--resume", "--epochs", 2)
    assert minicnn.load(here / "r" / "last.safetensors")["epoch"] == 2


def test_fewer_epochs_than_are_done(here):
    common = ["train", "lenet", "--out", "r"]
    call(*common, *FAST, "--epochs", 2, "--scheduler", "none")
    config = (here / "r" / "config.json").read_bytes()
    output = call(*common, "--resume", "--epochs", 1, code=1)
    assert "--epochs 1: r has done 2 epochs already" in output
    assert (here / "r" / "config.json").read_bytes() == config


def test_ctrl_c_after_the_training_says_how_to_go_on(here, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    common = ["train", "lenet", *FAST, "--out", "my run"]
    with monkeypatch.context() as patch:
        patch.setattr(runs, "report", interrupted)
        output = call(*common, code=130)
    assert output.endswith(
        'interrupted\ngo on with: minicnn train lenet --data digits --out "my run" --resume\n'
    )
    output = call("train", "--out", "my run", "--resume")
    assert "test accuracy" in output and 'minicnn evaluate "my run"' in output


def test_ctrl_c_before_the_first_checkpoint_promises_nothing(here, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.Training, "run", interrupted)
    output = call("train", "lenet", *FAST, "--out", "r", code=130)
    assert output.endswith("interrupted\n") and not (here / "r").exists()


def test_a_reader_that_has_gone(here, monkeypatch):
    """As with `minicnn train lenet | head -1`: no word of error, but no success either."""
    from minicnn.train import PrintProgress

    def gone(*args):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(PrintProgress, "on_epoch_end", gone)
    output = call("train", "lenet", *FAST, "--out", "r", code=1)
    assert output == "training lenet on digits: r\n"


def test_settings_have_types():
    from minicnn.cli.app import _setting

    pairs = {"a=1": 1, "a=0.5": 0.5, "a=true": True, "a=False": False, "a=max": "max", "a=": ""}
    for text, value in pairs.items():
        name, found = _setting(text)
        assert name == "a" and found == value and type(found) is type(value)


def test_a_run_remembers_where_its_data_is(here):
    """From whichever folder it is evaluated later."""
    job = runs.new_job("lenet", "mnist", "sets", {}, {}, here / "r")
    assert job.data.directory == str(here / "sets")
    call("train", "lenet", *FAST, "--out", "r")
    job = runs.resumed_job(None, None, "sets", {}, here / "r")
    assert job.data.directory == str(here / "sets")


def test_trainings_that_begin_together_get_folders_of_their_own(here):
    given = {"epochs": 1, "batch_size": 512}
    jobs = [runs.new_job("lenet", "digits", None, given, {}, None, image_size=16) for _ in range(2)]
    assert [str(job.folder.path.name) for job in jobs] == ["lenet-digits"] * 2
    trainings = [runs.Training(job, []) for job in jobs]
    for training in trainings:
        training.run()
    for job, name in zip(jobs, ("lenet-digits", "lenet-digits-2"), strict=True):
        assert job.folder.path.name == name
        with open(here / "runs" / name / "metrics.csv") as file:
            assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]
    call("train", "lenet", "--data", "no such data", code=1)
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["lenet-digits", "lenet-digits-2"]


def test_a_run_does_not_need_the_file_that_its_weights_came_from(here):
    minicnn.manual_seed(4)
    first = minicnn.models.lenet(image_size=16)
    minicnn.save(first.state_dict(), "first.safetensors")
    start = ["train", "lenet", "--data", "digits", *FAST, "--set", "weights=first.safetensors"]
    call(*start, "--lr", "1e-30", "--out", "run")
    for name, value in first.state_dict().items():  # they were loaded
        last = minicnn.load("run/last.safetensors")["model"][name]
        np.testing.assert_allclose(last.numpy(), value.numpy(), atol=1e-6)
    (here / "first.safetensors").rename(here / "moved.safetensors")
    assert "test accuracy" in call("evaluate", "run")
    assert "test accuracy" in call("train", "--out", "run", "--resume")


@pytest.mark.parametrize("name", ["pics[1]", "a*b"])
def test_the_newest_run_of_a_folder_with_an_odd_name(here, name):
    (here / "runs" / f"lenet-{name}-2").mkdir(parents=True)
    (here / "runs" / f"lenet-{name}-2" / runs.LAST).write_bytes(b"")
    assert runs._newest(f"lenet-{name}").name == f"lenet-{name}-2"


def test_resume_without_a_run(here):
    assert "there is no run of lenet-digits in runs" in call("train", "--resume", code=1)
    assert "there is no folder nowhere" in call("train", "--out", "nowhere", "--resume", code=1)


# ---------------------------------------------------------------------- what is refused


def test_another_run_in_the_folder(trained):
    folder, _ = trained
    output = call("train", "lenet", *FAST, "--out", folder, code=1)
    assert "holds another run; add --resume" in output and output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "lenett"], "no network 'lenett', there are .* did you mean 'lenet'?"),
        (["train"], "which network? for example"),
        (["train", "lenet", "--data", "letters"], "no data set 'letters', there are digits"),
        (["train", "lenet", "--data", "MNIST"], "no data set 'MNIST', .* did you mean 'mnist'?"),
        (["train", "lenet", "--validation", "0.9999"], "leaves none of the 1437 images to train"),
        (["train", "lenet", "--epochs", "0"], "--epochs expects at least 1, got 0"),
        (["train", "lenet", "--batch-size", "0"], "--batch-size expects at least 1"),
        (["train", "lenet", "--lr", "-1"], "--lr expects a finite number above 0"),
        (["train", "lenet", "--lr", "nan"], "--lr expects a finite number above 0"),
        (["train", "lenet", "--lr", "inf"], "--lr expects a finite number above 0"),
        (["train", "lenet", "--optimizer", "best"], "--optimizer expects one of sgd, adam, adamw"),
        (["train", "lenet", "--scheduler", "x"], "--scheduler expects one of none, step"),
        (["train", "lenet", "--validation", "1"], "--validation expects a share"),
        (["train", "lenet", "--shift", "-1"], "--shift expects at least 0"),
        (["train", "lenet", "--shift", "28"], "--shift expects less than the image's side, 28"),
        (["train", "lenet", "--set", "pooling"], "--set expects NAME=VALUE, got 'pooling'"),
        (["train", "lenet", "--set", "pooling=sum"], "pooling expects one of avg, max, got 'sum'"),
        (["train", "lenet", "--set", "colour=red"], "lenet cannot be made with .*'colour': 'red'"),
        (["train", "lenet", "--set", "num_classes=3"], "--set num_classes: it follows from the"),
        (["train", "lenet", "--set", "image_size=32"], "or give --image-size"),
        (["train", "lenet", "--device", "tpu"], "device"),
        (["train", "lenet", "--image-size", "3"], "image_size expects at least"),
        (["train", "lenet", "--data", "mnist", "--data-dir", "empty"], "MNIST"),
        (["evaluate", "nowhere"], "no checkpoint: there is no folder nowhere"),
        (["evaluate", __file__], "test_commands.py is no folder"),
        (["evaluate", "nowhere", "--checkpoint", "first"], "--checkpoint expects best or last"),
        (["predict", "nowhere", "x.png"], "there is no folder nowhere"),
        (["summary", "lenett"], "did you mean 'lenet'?"),
        (["summary", "lenet", "--set", "colour=red"], "lenet cannot be made with"),
        (["summary", "lenet", "--input", "28"], "--input expects CHANNELSxHEIGHTxWIDTH"),
        (["summary", "lenet", "--input", "1x28x32"], "lenet cannot take 28x32 images: linear: "),
    ],
)
def test_errors_are_one_line(arguments, message, here, monkeypatch):
    from minicnn.datasets import download

    def offline(*args):
        raise RuntimeError("MNIST: no network")

    monkeypatch.setattr(download, "fetch", offline)
    output = call(*arguments, code=1)
    assert output.startswith("minicnn: ") and output.count("\n") == 1
    assert all(part in output for part in message.split(".*"))
    assert not (here / "runs").exists()


def test_a_long_error_keeps_its_lines(here, monkeypatch):
    """The addresses that a download tried are one a line."""

    def offline(*args):
        raise datasets.DownloadError("MNIST: tried\n  here\n  there")

    monkeypatch.setattr(datasets.download, "fetch", offline)
    output = call("train", "lenet", "--data", "mnist", "--data-dir", "empty", code=1)
    assert output == "minicnn: MNIST: tried\n  here\n  there\n"


def test_usage_errors(here):
    assert "--epochs" in call("train", "lenet", "--epochs", "many", code=2)
    call("summary", "lenet", "--num-classes", "0", code=2)
    call("nonsense", code=2)


def test_unexpected_errors_name_their_kind(here, monkeypatch):
    def broken(*args, **kwargs):
        raise KeyError("surprise")

    monkeypatch.setattr(runs, "open_run", broken)
    assert "KeyError: 'surprise' (MINICNN_DEBUG=1 shows where)" in call("evaluate", "x", code=1)
    monkeypatch.setenv("MINICNN_DEBUG", "1")
    result = typer_testing.CliRunner().invoke(app, ["evaluate", "x"])
    assert isinstance(result.exception, KeyError)


def test_a_loss_that_explodes(here):
    output = call("train", "lenet", *FAST, "--epochs", 3, "--lr", 1e30, "--out", "r", code=1)
    line = output.splitlines()[-1]
    assert line.startswith("minicnn: fit: ") and "learning rate" in line and "in epoch" in line
    assert (here / "r" / "last.safetensors").exists()


# ---------------------------------------------------------------------- the other commands


def test_evaluate(trained):
    folder, trained_output = trained
    output = call("evaluate", folder)
    accuracy = [line for line in trained_output.splitlines() if line.startswith("test accuracy")]
    assert output.splitlines()[:2] == [f"lenet on digits, best checkpoint of {folder}", *accuracy]
    classes = output.splitlines()[2:]
    assert len(classes) == 10 and classes[3].split()[0] == "3"
    counts = [line.split("(")[1].rstrip(")").split(" of ") for line in classes]
    right, total = (sum(int(c[k]) for c in counts) for k in (0, 1))
    assert total == 360 and f"({right} of 360 test images" in accuracy[0]
    assert "last checkpoint" in call("evaluate", folder, "--checkpoint", "last")


def test_evaluate_refuses_damage_and_strangers(trained, tmp_path):
    folder, _ = trained
    content = (folder / "best.safetensors").read_bytes()
    (tmp_path / "best.safetensors").write_bytes(content[:-5])
    assert "damaged checkpoint" in call("evaluate", tmp_path, code=1)
    minicnn.save({"a": 1}, tmp_path / "best.safetensors")
    assert "no checkpoint of a run" in call("evaluate", tmp_path, code=1)
    state = minicnn.load(folder / "best.safetensors")
    state["config"]["model"] = "vgg11"
    state["config"]["data"]["image_size"] = 8
    minicnn.save(state, tmp_path / "best.safetensors")
    assert "is of another model" in call("evaluate", tmp_path, code=1)
    del state["config"]["model"]
    minicnn.save(state, tmp_path / "best.safetensors")
    assert "was not made by `minicnn train`" in call("evaluate", tmp_path, code=1)


def test_predict(trained, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    folder, _ = trained
    run = runs.open_run(folder)
    result = runs.test(run)
    test_set = datasets.Digits(train=False)
    paths = []
    for i in range(3):
        paths.append(tmp_path / f"{i}.png")
        image_module.fromarray(test_set.data.array[i]).save(paths[-1])
    lines = call("predict", folder, *paths).splitlines()
    for i, line in enumerate(lines):
        path, guess, chance = line.split()[:3]
        assert path == str(paths[i]) and guess == str(result.guesses[i])
        logits = result.logits[i] - result.logits[i].max()
        expected = np.exp(logits).max() / np.exp(logits).sum()
        assert float(chance.rstrip("%")) == pytest.approx(100 * expected, abs=0.06)
    assert len(call("predict", folder, paths[0], "--top", 1).split()) == 3
    (tmp_path / "bad.png").write_text("no picture")
    output = call("predict", folder, tmp_path / "bad.png", paths[0], tmp_path / "none.png", code=1)
    assert (
        "is no picture" in output and str(paths[0]) in output and "none.png: No such file" in output
    )


def test_lists():
    networks = call("models")
    assert "lenet" in networks and "vgg16_bn" in networks and "61,706" in networks
    sets = call("datasets")
    for name in datasets.available():
        assert name in sets
    assert "1,437 +    360 images of 1x8x8" in sets


def test_summary():
    output = call("summary", "lenet")
    assert "416,520" in output and "61,706" in output
    output = call("summary", "vgg11", "--input", "1x16x16", "--num-classes", 4)
    assert "classifier" in output and "1x4" in output.splitlines()[2]
    assert "AvgPool2d" in call("summary", "lenet", "--set", "pooling=avg")
    output = call("summary", "vgg11", "--input", "3x40x64", "--depth", 1, "--num-classes", 2)
    assert "512x1x2" in output and "150x150" in output and "modules deeper than 1" in output


def test_version_and_help():
    assert call("--version").strip() == f"minicnn {minicnn.__version__}"
    assert "train" in call("--help")
    assert "--resume" in call("train", "--help")


# ---------------------------------------------------------------------- options


def test_defaults_suit_model_and_data():
    lenet, vgg = complete("lenet", "digits", {}), complete("vgg16_bn", "digits", {})
    assert lenet.epochs > vgg.epochs and lenet.lr > vgg.lr
    assert complete("lenet", "mnist", {}).epochs <= 10
    assert complete("lenet", "digits", {"lr": 0.5, "epochs": None}).lr == 0.5
    assert complete("lenet", "digits", {"optimizer": "sgd"}).lr > lenet.lr
    assert complete("lenet", "digits", {"optimizer": "lbfgs"}).weight_decay == 0
    with pytest.raises(ValueError, match=r"--weight-decay 0.1: rprop has none"):
        complete("lenet", "digits", {"optimizer": "rprop", "weight_decay": 0.1})


def test_families_are_trained_alike():
    for data in ("digits", "mnist", "cifar10", "svhn"):
        lenet = complete("lenet", data, {})
        for name in ("lenet_classic", "cifar_net", "cifar_quick"):
            assert complete(name, data, {}) == lenet, (name, data)
    for name in ("alexnet_paper", "vgg16", "nin", "squeezenet1_1", "convnext_tiny"):
        assert complete(name, "cifar10", {}).optimizer == "adamw", name
    for name in ("resnet18", "wrn_16_4", "densenet121", "googlenet", "inception_v3"):
        assert complete(name, "cifar100", {}).lr == 0.1, name
    for name, lr in (("mobilenet_v2", 4e-3), ("shufflenet_v1", 1e-2), ("resnet18", 1e-3)):
        assert complete(name, "digits", {}).lr == lr, name
    strings = complete("svhn_digits", "digit-strings", {})
    assert (strings.optimizer, strings.lr, strings.batch_size) == ("adamw", 2e-3, 64)
    with pytest.raises(ValueError, match=r"no network .lenett.*did you mean .lenet."):
        complete("lenett", "digits", {})


def test_photographs_are_mirrored_and_cut():
    resnet, lenet = complete("resnet20", "cifar10", {}), complete("lenet", "cifar10", {})
    assert (resnet.shift, resnet.flip, resnet.optimizer, resnet.lr) == (4, True, "sgd", 0.1)
    assert (lenet.shift, lenet.flip, lenet.optimizer) == (4, True, "adamw")
    assert complete("vgg11_bn", "cifar10", {}).optimizer == "adamw"
    adamw = complete("resnet20", "cifar10", {"optimizer": "adamw"})
    assert (adamw.lr, adamw.weight_decay) == (1e-3, 1e-2)
    assert complete("resnet20", "cifar10", {"flip": False}).flip is False
    assert complete("lenet", "mnist", {}).flip is False


def test_limit(here):
    call("train", "lenet", *FAST, "--limit", 100, "--out", "run")
    config = json.loads((here / "run" / "config.json").read_text())
    assert config["options"]["limit"] == 100
    text = call("train", "--out", "run", "--resume", "--limit", 99, code=1)
    assert "--limit 99: this run was begun with 100" in text
    text = call("train", "lenet", *FAST, "--limit", 9999, "--out", "other", code=1)
    assert "--limit expects at most 1437" in text


def test_help_names_every_optimizer_and_scheduler():
    text = " ".join(call("train", "--help").replace("│", " ").split())
    for names in (OPTIMIZERS, SCHEDULERS):
        assert f"{', '.join(names[:-1])} or {names[-1]}." in text


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_all_pairs_of_optimizer_and_scheduler(optimizer, scheduler):
    """Both as set up by the options: for one epoch and for nine, of two batches."""
    for epochs in (1, 9):
        given = {"optimizer": optimizer, "scheduler": scheduler, "epochs": epochs}
        options = complete("lenet", "digits", given)
        model = minicnn.nn.Linear(2, 2)
        opt = make_optimizer(options, model)
        schedule = make_scheduler(options, opt, batches=2)
        assert 0 < opt.param_groups[0]["lr"] <= options.lr
        if options.optimizer not in ("rprop", "lbfgs"):
            assert opt.param_groups[0]["weight_decay"] == options.weight_decay
        opt._stepped = True
        rates = []
        each_batch = scheduler in ("onecycle", "cyclic")
        for _ in range(2 * epochs if each_batch else epochs):
            rates.append(opt.param_groups[0]["lr"])
            if schedule is not None:
                schedule.step(*([1.0] if scheduler == "plateau" else []))
        assert max(rates) == pytest.approx(options.lr) or scheduler == "onecycle"
        assert epochs == 1 or scheduler == "none" or min(rates) < 0.5 * options.lr


def test_runs_of_before_there_were_flips():
    stored = vars(complete("lenet", "digits", {}))
    older = {name: stored[name] for name in stored if name not in ("flip", "limit")}
    assert restored(older, {}) == complete("lenet", "digits", {})


def test_restored_options():
    for scheduler in ("none", "plateau"):
        stored = vars(complete("lenet", "digits", {})) | {"scheduler": scheduler}
        assert restored(stored, {"epochs": 99}).epochs == 99
    assert restored(stored, {"epochs": 99, "device": "cpu", "lr": None}).epochs == 99
    with pytest.raises(ValueError, match="options are damaged"):
        restored({"epochs": 3}, {})
