"""Random transforms: seeds, ranges, the three kinds of image, and whole batches at once."""

import numpy as np
import pytest

import minicnn
from minicnn import Generator, Tensor, datasets
from minicnn import transforms as T
from minicnn.data import DataLoader
from minicnn.transforms import functional as F

rng = np.random.default_rng(5)
RGB = rng.integers(0, 256, (20, 24, 3), np.uint8)

ALL = [
    T.RandomCrop(9),
    T.RandomCrop((30, 9), padding=2, pad_if_needed=True, padding_mode="reflect"),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(),
    T.RandomResizedCrop((7, 9)),
    T.Cutout(6, n_holes=2),
    T.ColorJitter(0.4, 0.4, 0.4, 0.2),
    T.RandomGrayscale(0.5),
    T.RandomApply([T.RandomCrop(5)], 0.5),
    T.RandomChoice([T.RandomCrop(5), T.RandomVerticalFlip()], p=[2, 1]),
    T.RandomOrder([T.RandomCrop(9), T.ColorJitter(hue=0.5)]),
    T.GaussianBlur((3, 5)),
    T.RandomRotation(40),
    T.RandomAffine(10, (0.1, 0.2), (0.7, 1.2), 20, T.InterpolationMode.BILINEAR, fill=7),
]


def array(image):
    return image.numpy() if isinstance(image, Tensor) else np.asarray(image)


@pytest.mark.parametrize("transform", ALL, ids=repr)
@pytest.mark.parametrize("kind", ["pil", "array", "tensor"])
def test_one_seed_one_image(transform, kind):
    image = {"pil": lambda: F.to_pil_image(RGB), "array": lambda: RGB, "tensor": lambda: Tensor(
        np.ascontiguousarray(RGB.transpose(2, 0, 1)))}[kind]()  # fmt: skip
    before, results = array(image).copy(), []
    for seed in (1, 1, 2, 3, 4, 5, 6):
        minicnn.manual_seed(seed)
        out = transform(image)
        assert type(out) is type(image) or kind == "pil"
        results.append(array(out))
    assert np.array_equal(results[0], results[1])
    assert any(not np.array_equal(results[0], other) for other in results[2:])
    assert np.array_equal(array(image), before)


@pytest.mark.parametrize(
    "transform",
    [t for t in ALL if not isinstance(t, (T.RandomRotation, T.RandomAffine))],  # Pillow's own
    ids=repr,
)
def test_pil_images_and_arrays_are_treated_alike(transform):
    pytest.importorskip("PIL")
    for seed in range(5):
        minicnn.manual_seed(seed)
        a = array(transform(RGB))
        minicnn.manual_seed(seed)
        b = array(transform(F.to_pil_image(RGB)))
        assert np.abs(a.astype(int) - b).max() <= 1 or transform is ALL[4]
        if not isinstance(transform, (T.RandomGrayscale, T.RandomResizedCrop)):
            assert np.array_equal(a, b)


def test_a_generator_of_ones_own():
    own = Generator().manual_seed(3)
    transform = T.RandomCrop(9, generator=own)
    before = minicnn.get_rng_state()
    first = array(transform(RGB))
    own.manual_seed(3)
    assert np.array_equal(array(transform(RGB)), first)
    assert np.array_equal(minicnn.get_rng_state(), before)


def test_every_place_of_a_crop_comes():
    image = Tensor(np.arange(16, dtype=np.float32).reshape(1, 4, 4))
    corners = {array(T.RandomCrop(3)(image))[0, 0, 0] for _ in range(80)}
    assert corners == {0, 1, 4, 5}


def test_cutout_may_reach_over_the_edge():
    image = Tensor(np.ones((1, 8, 8), np.float32))
    cut = [64 - array(T.Cutout(4)(image)).sum() for _ in range(300)]
    assert max(cut) == 16 and min(cut) == 4
    assert (array(T.Cutout(40, fill=0.5)(image)) == 0.5).all()
    with pytest.raises(ValueError, match="Cutout: length expects an integer of at least 1, got 0"):
        T.Cutout(0)


def test_probabilities():
    image = Tensor(np.arange(6, dtype=np.float32).reshape(1, 2, 3))
    for p, least, most in ((0.0, 0, 0), (1.0, 200, 200), (0.25, 25, 75)):
        for make in (T.RandomHorizontalFlip, T.RandomVerticalFlip):
            transform = make(p)
            same = [np.array_equal(array(transform(image)), array(image)) for _ in range(200)]
            assert least <= same.count(False) <= most
    with pytest.raises(ValueError, match="RandomHorizontalFlip: p expects a probability"):
        T.RandomHorizontalFlip(-0.1)


def test_erasing():
    image = Tensor(np.full((3, 32, 32), 0.5, np.float32))
    erased = array(T.RandomErasing(1.0, value=(0.1, 0.2, 0.3))(image))
    mask = erased[0] != 0.5
    assert 0.01 < mask.mean() < 0.4
    assert np.allclose(erased[:, mask].T, (0.1, 0.2, 0.3))
    noise = array(T.RandomErasing(1.0, value="random")(image))
    assert len(np.unique(noise)) > 10
    out = T.RandomErasing(1.0, inplace=True)(image)
    assert out is image and (image.numpy() == 0).any()
    with pytest.raises(TypeError, match="got a PIL image"):
        T.RandomErasing(1.0)(F.to_pil_image(RGB))
    with pytest.raises(ValueError, match="value should have one number or 3"):
        T.RandomErasing(1.0, value=(1, 2))(image)


def test_a_gradient_is_not_lost_silently():
    x = Tensor(np.ones((3, 8, 8), np.float32), requires_grad=True)
    for transform in (
        T.RandomCrop(4),
        T.RandomHorizontalFlip(1.0),
        T.ColorJitter(0.5),
        T.Cutout(2),
        T.RandomRotation(5),
        T.RandomAffine(5),
        T.GaussianBlur(3),
    ):
        with pytest.raises(RuntimeError, match="gradient"):
            transform(x)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: T.RandomCrop(4, generator=3), TypeError, "expects a minicnn.Generator, got 3"),
        (lambda: T.RandomResizedCrop(4, 0.5), ValueError, "scale expects two numbers.*got 0.5"),
        (lambda: T.RandomResizedCrop(4, ratio=(1, 1, 1)), ValueError, "ratio expects two numbers"),
        (lambda: T.RandomErasing(scale=0.1), ValueError, "scale expects two shares, got 0.1"),
        (lambda: T.RandomErasing(ratio=3), ValueError, "ratio expects two numbers above 0, got 3"),
        (lambda: T.RandomChoice([]), ValueError, "transforms should hold one at least"),
    ],
)
def test_arguments_that_cannot_be(make, error, text):
    with pytest.raises(error, match=text):
        make()


# ---------------------------------------------------------------- whole batches

BATCHES = [
    T.Compose([T.RandomCrop(20, padding=4), T.RandomHorizontalFlip(), T.ToTensor()]),
    T.Compose([T.RandomVerticalFlip(), T.ToTensor(), T.RandomErasing(0.7), T.Cutout(5)]),
    T.Compose([T.RandomResizedCrop(9), T.ToTensor(), T.Normalize((0.5,), (0.2,))]),
    T.Compose([
        T.RandomCrop(20, 4, generator=Generator()), T.RandomHorizontalFlip(), T.ToTensor(),
        T.RandomErasing(generator=Generator()),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("transform", BATCHES, ids=range(len(BATCHES)))
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_at_once_equal_one_by_one(transform, channels):
    class Plain(datasets.ArrayDataset):
        pass

    images = rng.integers(0, 256, (11, 20, 20, 3), np.uint8)
    data = Plain(transform=transform)
    data.data, data.targets = images[..., 0] if channels == 1 else images, list(range(11))
    assert transform._batched() is not None

    def restart():
        minicnn.manual_seed(9)
        for step in transform.transforms:
            if getattr(step, "generator", None) is not None:
                step.generator.manual_seed(4)

    restart()
    one_by_one = np.stack([data[i][0].numpy() for i in range(11)])
    restart()
    at_once = np.concatenate([x.numpy() for x, _ in DataLoader(data, 4)])
    assert np.array_equal(at_once, one_by_one)


def test_what_cannot_be_done_at_once():
    for step in (T.ColorJitter(0.1), T.RandomGrayscale(), T.RandomApply([T.RandomCrop(3)])):
        assert T.Compose([step, T.ToTensor()])._batched() is None
    noise = T.Compose([T.ToTensor(), T.RandomErasing(value="random")])
    assert noise._batched() is None and noise._takes_arrays()
    for step in (T.RandomRotation(5), T.RandomAffine(5)):  # Pillow turns PIL images
        assert not T.Compose([step, T.ToTensor()])._takes_arrays()
    blurred = T.Compose([T.GaussianBlur(3), T.ToTensor()])
    assert blurred._batched() is None and blurred._takes_arrays()
    nearest = T.RandomResizedCrop(9, interpolation=T.InterpolationMode.NEAREST)
    assert T.Compose([nearest, T.ToTensor()])._batched() is None
    for resize in (T.Resize(9, antialias=None), T.RandomResizedCrop(9, antialias=None)):
        assert T.Compose([T.ToTensor(), resize])._batched() is None  # as for PIL images, or not?
