"""Weights by name, by enumeration and by file: what is chosen, downloaded, checked and loaded."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import http.server
import inspect
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from torchvision_here import torchvision

import minicnn
from minicnn import models
from minicnn.interop.download import DownloadError
from minicnn.models import published, registry, weights
from minicnn.transforms.presets import ImageClassification

NAMES = sorted(published.PUBLISHED)


# ---------------------------------------------------------------------- the table


@pytest.mark.parametrize("name", NAMES)
def test_the_table_is_torchvisions(name):
    theirs = torchvision().models.get_model_weights(name)
    ours = models.get_model_weights(name)
    assert ours.__name__ == theirs.__name__
    assert ours.DEFAULT.name == theirs.DEFAULT.name
    for member in ours:
        other = theirs[member.name]
        assert (member.url, str(member)) == (other.url, str(other))
        assert repr(member.transforms()) == repr(other.transforms())
        for key in ("categories", "num_params", "min_size", "_file_size"):
            assert member.meta[key] == other.meta[key], key
        np.testing.assert_equal(member.meta["_metrics"], other.meta["_metrics"])  # NaN is NaN
    assert set(ours.__members__) == set(theirs.__members__)


def test_every_published_network_is_here_with_as_many_parameters():
    for name, kind in published.PUBLISHED.items():
        assert models.info(name).parameters == kind.DEFAULT.meta["num_params"], name


def test_class_names():
    names = published.imagenet_classes()
    assert len(names) == 1000
    assert (names[0], names[207], names[281], names[999]) == (
        "tench", "golden retriever", "tabby", "toilet tissue",
    )  # fmt: skip


def test_weights_by_their_names():
    V1 = models.ResNet50_Weights.IMAGENET1K_V1
    assert models.get_weight("ResNet50_Weights.IMAGENET1K_V1") is V1
    assert models.get_weight("ResNet50_Weights.DEFAULT") is models.ResNet50_Weights.IMAGENET1K_V2
    assert models.get_model_weights("resnet50") is models.ResNet50_Weights
    assert models.get_model_weights("ResNet50") is models.ResNet50_Weights
    assert models.get_model_weights(models.vgg11) is models.VGG11_Weights
    assert {"ResNet50_Weights", "resnet50"} <= set(dir(models))
    with pytest.raises(ValueError, match=r"ResNet50_Weights has IMAGENET1K_V1, .* not 'V9'"):
        models.get_weight("ResNet50_Weights.V9")
    with pytest.raises(ValueError, match="get_weight: no weights 'Nothing'"):
        models.get_weight("Nothing")
    with pytest.raises(ValueError, match="no weights are published for 'lenet'"):
        models.get_model_weights("lenet")
    with pytest.raises(AttributeError, match="no attribute 'Nothing_Weights'"):
        models.Nothing_Weights  # noqa: B018


# ---------------------------------------------------------------------- the transforms


@pytest.mark.parametrize("kind", ["pil", "tensor", "float"])
@pytest.mark.parametrize("size", [(50, 70), (64, 40)])
def test_the_transforms_are_torchvisions(kind, size):
    tv = torchvision()
    from torchvision.transforms._presets import ImageClassification as Theirs

    torch = pytest.importorskip("torch")
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    ours, theirs = (K(crop_size=28, resize_size=32) for K in (ImageClassification, Theirs))
    if kind == "pil":
        Image = pytest.importorskip("PIL.Image")
        y, expected = ours(Image.fromarray(image)), theirs(Image.fromarray(image))
    else:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))
        planes = planes if kind == "tensor" else (planes / np.float32(255)).astype(np.float32)
        y, expected = ours(minicnn.tensor(planes)), theirs(torch.from_numpy(planes))
    assert tv.__version__ and y.shape == (3, 28, 28) and y.dtype == np.float32
    # An 8-bit Tensor may round another way in the resampling: one grey level of 255, by std.
    atol = 1 / 255 / 0.224 * 1.01 if kind == "tensor" else 1e-5
    np.testing.assert_allclose(y.numpy(), expected.numpy(), atol=atol)


def test_members_and_their_transforms_travel_to_other_processes():
    weights = models.ResNet50_Weights.DEFAULT
    assert pickle.loads(pickle.dumps(weights)) is weights and copy.deepcopy(weights) is weights
    image = minicnn.full((3, 300, 400), 128, dtype=minicnn.uint8)
    there = pickle.loads(pickle.dumps(weights.transforms()))
    assert np.array_equal(there(image).numpy(), weights.transforms()(image).numpy())


def test_the_transforms_without_torchvision():
    preprocess = models.ResNet18_Weights.DEFAULT.transforms()
    image = minicnn.full((3, 300, 400), 128, dtype=minicnn.uint8)
    y = preprocess(image).numpy()
    assert y.shape == (3, 224, 224)
    expected = (128 / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(y.mean((1, 2)), expected, rtol=1e-5)
    other = models.Inception_V3_Weights.DEFAULT.transforms()
    assert other(image).shape == (3, 299, 299)
    assert "resize_size=[342]" in repr(other)


# ---------------------------------------------------------------------- files at hand


def small(**options):
    return models.lenet(image_size=16, **options)


@pytest.mark.parametrize("nested", [None, "state_dict", "model"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."]
)
def test_weights_of_a_file(tmp_path, nested, prefix):
    source = small()
    state = {prefix + k: v for k, v in source.state_dict().items()}
    path = tmp_path / "mine.safetensors"
    minicnn.save({nested: state, "epoch": 3} if nested else state, path)
    for given in (path, str(path)):
        net = small(weights=given)
        for key, value in source.state_dict().items():
            assert np.array_equal(net.state_dict()[key].numpy(), value.numpy())


def test_weights_that_do_not_fit_say_which_file_and_which_layer(tmp_path):
    path = tmp_path / "mine.safetensors"
    minicnn.save(small(num_classes=7).state_dict(), path)
    with pytest.raises(
        RuntimeError,
        match=r"lenet: weights of .*mine.safetensors: .*\n\tsize mismatch for classifier[^$]*"
        r"\n\tnum_classes, .* make a network of other shapes",
    ):
        small(weights=path)
    assert small(weights=path, num_classes=7).classifier[4].weight.shape == (7, 84)
    minicnn.save([1, 2], path)
    with pytest.raises(ValueError, match=r"mine\.safetensors: holds no state_dict"):
        small(weights=path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        small(weights=tmp_path / "nowhere.safetensors")


def test_nothing_is_drawn_for_weights_that_follow(tmp_path):
    """Random numbers for VGG-16 would take longer than its file. All must then come from there."""
    path = tmp_path / "mine.safetensors"
    minicnn.save(small().state_dict(), path)
    before = np.asarray(minicnn.get_rng_state()).copy()
    net = small(weights=path)
    assert np.array_equal(np.asarray(minicnn.get_rng_state()), before)
    assert all(np.isfinite(p.array).all() for p in net.parameters())
    for key in net.state_dict():
        minicnn.save({k: v for k, v in net.state_dict().items() if k != key}, path)
        with pytest.raises(RuntimeError, match=rf'Missing key\(s\) in state_dict: "{key}"'):
            small(weights=path)
    small()
    assert not np.array_equal(np.asarray(minicnn.get_rng_state()), before)


def test_what_weights_may_be():
    with pytest.raises(ValueError, match=r"lenet: no weights 'IMAGENET1K_V1'; .*: none"):
        models.lenet(weights="IMAGENET1K_V1")
    with pytest.raises(ValueError, match=r"vgg11: no weights 'V9'; .*: IMAGENET1K_V1, DEFAULT"):
        models.vgg11(weights="V9")
    for other in (models.VGG13_Weights.DEFAULT, "VGG13_Weights.DEFAULT"):
        with pytest.raises(TypeError, match="vgg11: weights expects a member of VGG11_Weights"):
            models.vgg11(weights=other)
    with pytest.raises(ValueError, match="VGG11_Weights has IMAGENET1K_V1, DEFAULT, not 'V9'"):
        models.vgg11(weights="VGG11_Weights.V9")
    with pytest.raises(ValueError, match="vgg11: no weights ''; published"):
        models.vgg11(weights="")
    with pytest.raises(ValueError, match=r"vgg11: weights expects .* got an address, 'https://"):
        models.vgg11(weights="https://example.org/vgg11.pth")
    with pytest.raises(TypeError, match=r"vgg11: weights expects a name, .* got int"):
        models.vgg11(weights=3)
    for option in ({"num_classes": 10}, {"in_channels": 1}, {"image_size": 32}):
        with pytest.raises(ValueError, match=r"vgg11: the weights VGG11_Weights\.IMAGENET1K_V1"):
            models.vgg11(weights="DEFAULT", **option)


# ---------------------------------------------------------------------- downloads


FORM = {"in_channels": 3, "image_size": 16}


class Server:
    """Gives one file, and counts how often it was asked."""

    def __init__(self, content: bytes):
        outer = self
        self.content, self.asked = content, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                if outer.content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                with contextlib.suppress(OSError):  # who has read enough hangs up
                    self.wfile.write(outer.content)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def served(monkeypatch, tmp_path):
    """LeNet with published weights, on a server here."""
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MINICNN_WEIGHTS", str(tmp_path / "cache"))
    source = small(num_classes=3, in_channels=3)
    path = tmp_path / "made.safetensors"
    minicnn.save(source.state_dict(), path)
    server = Server(path.read_bytes())
    digest = hashlib.sha256(server.content).hexdigest()[:8]

    class LeNet_Weights(weights.WeightsEnum):
        MINE = weights.Weights(
            url=f"{server.url}lenet-{digest}.safetensors",
            transforms=lambda: ImageClassification(crop_size=16, resize_size=16),
            meta={"categories": ["a", "b", "c"], "_file_size": len(server.content) / 2**20},
        )
        DEFAULT = MINE

    monkeypatch.setitem(published.PUBLISHED, "lenet", LeNet_Weights)
    server.weights, server.source = LeNet_Weights, source
    thread = threading.Thread(target=server.server.serve_forever, args=(0.01,))
    thread.start()
    with contextlib.closing(server.server.socket):
        yield server
        server.server.shutdown()
        thread.join()


def equal(a, b):
    return all(np.array_equal(v.numpy(), b.state_dict()[k].numpy()) for k, v in a.items())


def test_published_weights_are_downloaded_once_and_checked(served, tmp_path):
    net = models.lenet(weights="MINE", **FORM)
    assert equal(net.state_dict(), served.source)
    assert net.classifier[4].weight.shape == (3, 84)  # as many classes as the weights have
    again = models.lenet(weights=served.weights.DEFAULT, num_classes=3, **FORM)
    assert equal(again.state_dict(), served.source)
    assert equal(served.weights.MINE.get_state_dict(), served.source)
    assert served.asked == 1
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [served.weights.MINE.value.file.name]


def test_weights_without_classes_leave_their_number_free(served):
    served.weights.MINE.value.meta["categories"] = None
    net = models.lenet(weights="MINE", num_classes=3, **FORM)
    assert equal(net.state_dict(), served.source)
    with pytest.raises(RuntimeError, match="size mismatch"):
        models.lenet(weights="MINE", **FORM)  # the network's own ten classes
    features = models.VGG16_Weights.IMAGENET1K_FEATURES
    image = minicnn.full((3, 300, 400), 128, dtype=minicnn.uint8)
    means = features.transforms()(image).numpy().mean((1, 2))
    np.testing.assert_allclose(means, 128 - 255 * np.array([0.48235, 0.45882, 0.40784]), rtol=1e-4)


def test_a_cached_file_that_was_damaged_is_downloaded_again(served):
    models.lenet(weights="MINE", **FORM)
    path = served.weights.MINE.value.file
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert equal(models.lenet(weights="MINE", **FORM).state_dict(), served.source)
    assert served.asked == 2


def files_in(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir()] if folder.exists() else []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c[:-1] + b"!", "its SHA-256 is [0-9a-f]{64}, which does not begin with"),
        (lambda c: c + bytes(2 << 20), "it sends more than the published size"),
        (lambda c: None, "404"),
    ],
)
def test_what_is_not_the_published_file_is_not_kept(served, tmp_path, change, text):
    served.content = change(served.content)
    with pytest.raises(DownloadError, match=text) as caught:
        models.lenet(weights="MINE", **FORM)
    assert served.url in str(caught.value)
    assert f"put it into {tmp_path / 'cache'}, or name the file by weights=PATH" in str(
        caught.value
    )
    assert files_in(tmp_path / "cache") == []


def test_without_a_network_the_error_says_what_to_do(served, monkeypatch, tmp_path):
    row = weights.Weights("http://127.0.0.1:9/lenet-00000000.pth", dict, {"_file_size": 1})
    with pytest.raises(DownloadError, match=r"could not download http://127\.0\.0\.1:9/.*fetch it"):
        weights.download(row)
    assert files_in(tmp_path / "cache") == []
    row.file.write_bytes(b"half of it")
    with pytest.raises(DownloadError, match=r"there has another SHA-256\. Without"):
        weights.download(row)
    assert row.file.read_bytes() == b"half of it"


def test_a_folder_that_cannot_be_written(served, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MINICNN_WEIGHTS", str(tmp_path / "file" / "cache"))
    with pytest.raises(NotADirectoryError, match=r"MINICNN_WEIGHTS may name another .*cache"):
        models.lenet(weights="MINE", **FORM)


def test_the_older_form(served):
    older = pytest.warns(UserWarning, match="pretrained=True is the older form of weights=")
    with older as caught, pytest.raises(ValueError, match="no weights 'IMAGENET1K_V1'"):
        models.lenet(pretrained=True)
    assert caught[0].filename == __file__
    assert models.lenet(pretrained=False).classifier[4].weight.shape == (10, 84)


def test_weights_by_position(served):
    with pytest.warns(UserWarning, match="pretrained=True is the older form") as seen:
        with pytest.raises(ValueError, match="no weights 'IMAGENET1K_V1'"):
            models.lenet(True)
        with pytest.raises(ValueError, match="no weights 'IMAGENET1K_V1'"):
            models.lenet(True, False)
    assert {w.filename for w in seen} == {__file__}
    assert models.lenet(False, num_classes=3).classifier[4].weight.shape == (3, 84)
    assert models.lenet(None, True).classifier[4].weight.shape == (10, 84)
    with pytest.raises(ValueError, match="no weights 'MINE'"):
        models.alexnet("MINE", False)


def test_what_help_shows():
    for name, info in models.available().items():
        assert list(inspect.signature(info.make).parameters)[:2] == ["weights", "progress"], name


def test_makers_can_build_around_the_loading(served, monkeypatch):
    done = []
    monkeypatch.setitem(registry._infos, "lenet", models.info("lenet"))  # puts it back

    def build(make, options, load):
        model = make(**options)
        load(model)
        done.append(options)
        return model

    @registry.register(
        "lenet", "", image_sizes=(16,), input_size=(3, 16, 16), parameters=0, cam="", family="",
        with_weights=build,
    )  # fmt: skip
    def lenet(**options):
        return small(**options)

    assert equal(lenet(weights="MINE", in_channels=3).state_dict(), served.source)
    assert done == [{"num_classes": 3, "in_channels": 3}]
