"""Transforms: values, kinds of image, errors, reprs, and equality of the batched path."""

import subprocess
import sys

import numpy as np
import pytest

import minicnn
from minicnn import Tensor
from minicnn import transforms as T
from minicnn.transforms import functional as F
from minicnn.transforms.transforms import batched, takes_arrays

rng = np.random.default_rng(0)
GRAY = rng.integers(0, 256, (6, 5), np.uint8)
RGB = rng.integers(0, 256, (6, 5, 3), np.uint8)


def pil(array, mode=None):
    image = pytest.importorskip("PIL.Image").fromarray(array)
    return image if mode is None else image.convert(mode)


# ---------------------------------------------------------------- ToTensor and back


@pytest.mark.parametrize("image", [GRAY, RGB], ids=["gray", "rgb"])
@pytest.mark.parametrize("kind", ["array", "pil"])
def test_to_tensor_scales_bytes(image, kind):
    t = T.ToTensor()(image if kind == "array" else pil(image))
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    assert t.dtype == minicnn.float32
    assert t.numpy().flags.c_contiguous
    assert np.array_equal(t.numpy(), planes.astype(np.float32) / np.float32(255))


def test_every_byte_equals_pytorchs_division():
    torch = pytest.importorskip("torch")
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    wanted = torch.from_numpy(levels).to(torch.float32).div(255)
    assert np.array_equal(F.to_tensor(levels).numpy()[0], wanted.numpy())


def test_to_tensor_follows_the_default_dtype():
    minicnn.set_default_dtype(minicnn.float64)
    try:
        t = F.to_tensor(GRAY)
    finally:
        minicnn.set_default_dtype(minicnn.float32)
    assert np.array_equal(t.numpy()[0], GRAY / 255)


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64", "bool"])
def test_to_tensor_keeps_other_types(dtype):
    image = (rng.random((3, 4)) * 5).astype(dtype)
    t = F.to_tensor(image)
    assert (t.dtype, t.shape) == (np.dtype(dtype), (1, 3, 4))
    assert np.array_equal(t.numpy()[0], image)
    assert not np.shares_memory(t.numpy(), image)


def test_to_tensor_of_pil_modes():
    assert F.to_tensor(pil(GRAY > 99)).numpy().tolist() == [(GRAY > 99).astype(float).tolist()]
    wide = pil(GRAY.astype(np.int32) * 1000)
    assert F.to_tensor(wide).dtype == minicnn.int32
    assert F.to_tensor(pil(GRAY.astype(np.float32))).dtype == minicnn.float32
    assert F.to_tensor(pil(RGB, "RGBA")).shape == (4, 6, 5)


def test_to_tensor_rejects():
    with pytest.raises(TypeError, match="should be PIL Image or ndarray, got Tensor"):
        F.to_tensor(Tensor(GRAY))
    with pytest.raises(TypeError, match="got list"):
        F.to_tensor([[1, 2]])
    for shape in ((3,), (1, 2, 3, 4)):
        with pytest.raises(ValueError, match="2 or 3 dimensional"):
            F.to_tensor(np.zeros(shape))


@pytest.mark.parametrize("image", [GRAY, RGB], ids=["gray", "rgb"])
def test_to_pil_image_inverts_to_tensor(image):
    pytest.importorskip("PIL")
    for pic in (image, F.to_tensor(image), Tensor(F.pil_to_tensor(pil(image)).numpy())):
        out = T.ToPILImage()(pic)
        assert out.mode == ("L" if image.ndim == 2 else "RGB")
        assert np.abs(np.asarray(out).astype(int) - image).max() <= (pic.dtype == np.float32)
    assert np.array_equal(np.asarray(F.to_pil_image(image)), image)


def test_to_pil_image_modes_and_errors():
    pytest.importorskip("PIL")
    assert F.to_pil_image(GRAY.astype(np.int16)).mode == "I;16"
    assert F.to_pil_image(GRAY.astype(np.int32)).mode == "I"
    assert F.to_pil_image(GRAY.astype(np.float32)).mode == "F"
    assert F.to_pil_image(RGB, "HSV").mode == "HSV"
    assert F.to_pil_image(Tensor(GRAY)).size == (5, 6)
    with pytest.raises(ValueError, match="mode L does not fit 3 channels"):
        F.to_pil_image(RGB, "L")
    with pytest.raises(ValueError, match="1 to 4 channels, got 5"):
        F.to_pil_image(np.zeros((2, 2, 5), np.uint8))
    with pytest.raises(TypeError, match="no PIL mode for 1 channels of float64"):
        F.to_pil_image(GRAY.astype(np.float64))
    with pytest.raises(ValueError, match=r"\(H, W\), got \(1, 1, 1, 1\)"):
        F.to_pil_image(Tensor(np.zeros((1, 1, 1, 1), np.uint8)))
    with pytest.raises(TypeError, match="got str"):
        F.to_pil_image("a.png")


# ---------------------------------------------------------------- Normalize


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5)])
def test_normalize_by_channel(shape):
    x = rng.standard_normal(shape).astype(np.float32)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 2.0, 4.0])
    y = T.Normalize(mean, std)(Tensor(x))
    assert y.dtype == minicnn.float32
    assert np.allclose(y.numpy(), (x - mean[:, None, None]) / std[:, None, None], atol=1e-6)


def test_normalize_equals_torch_bit_for_bit():
    torch = pytest.importorskip("torch")
    x = rng.random((3, 8, 8)).astype(np.float32)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    column = [torch.tensor(v, dtype=torch.float32).view(-1, 1, 1) for v in (mean, std)]
    wanted = torch.from_numpy(x.copy()).sub_(column[0]).div_(column[1])
    assert np.array_equal(F.normalize(Tensor(x), mean, std).numpy(), wanted.numpy())


def test_normalize_in_place_or_not():
    x = np.ones((1, 2, 2), np.float32)
    t = Tensor(x)
    T.Normalize([0.5], [0.5])(t)
    assert (x == 1).all()
    out = T.Normalize([0.5], [0.25], inplace=True)(t)
    assert out is t
    assert (x == 2).all()


def test_normalize_passes_the_gradient():
    x = Tensor(np.ones((2, 1, 1), np.float32), requires_grad=True)
    y = F.normalize(x, [0.0, 0.0], [0.5, 4.0])
    y.sum().backward()
    assert x.grad.numpy().ravel().tolist() == [2.0, 0.25]
    with pytest.raises(RuntimeError, match="inplace=True"):
        F.normalize(x, [0.0], [1.0], inplace=True)


@pytest.mark.parametrize(
    ("x", "mean", "std", "error", "text"),
    [
        (np.zeros((1, 2, 2)), [0], [1], TypeError, "should be a Tensor, got ndarray"),
        (Tensor(np.zeros((1, 2, 2), np.uint8)), [0], [1], TypeError, "floating type, got uint8"),
        (Tensor(np.zeros((2, 2))), [0], [1], ValueError, r"\(\.\.\., C, H, W\), got \(2, 2\)"),
        (Tensor(np.zeros((1, 2, 2))), [0, 0], [1], ValueError, "mean .* each of the 1 channels"),
        (Tensor(np.zeros((3, 2, 2))), [0], [1, 2], ValueError, "std .* each of the 3 channels"),
        (Tensor(np.zeros((1, 2, 2))), [0], [0], ValueError, "std should not be zero"),
        (Tensor(np.zeros((1, 2, 2), np.float32)), [0], [1e-60], ValueError, "as float32"),
    ],
)
def test_normalize_rejects(x, mean, std, error, text):
    with pytest.raises(error, match=text):
        F.normalize(x, mean, std)


# ---------------------------------------------------------------- other values


@pytest.mark.parametrize(
    ("values", "start", "end", "expected"),
    [
        ([0, 128, 255], "uint8", "float32", [0, 128 / 255, 1]),
        ([0, 0.5, 1], "float32", "uint8", [0, 127, 255]),
        ([0, 1, 255], "uint8", "int16", [0, 128, 32640]),
        ([0, 255, 32767], "int16", "uint8", [0, 1, 255]),
        ([0.25], "float64", "float32", [0.25]),
        ([7], "uint8", "uint8", [7]),
        ([0, 1], "bool", "float32", [0, 1]),  # torchvision's values, of all with bool
        ([0, 1], "bool", "uint8", [0, 128]),
        ([0, 0.4, 1], "float32", "bool", [0, 1, 1]),
        ([0, 127, 128], "uint8", "bool", [0, 0, 1]),
    ],
)
def test_convert_image_dtype(values, start, end, expected):
    out = T.ConvertImageDtype(np.dtype(end))(Tensor(np.array([values], start)))
    assert out.dtype == np.dtype(end)
    assert np.allclose(out.numpy()[0], expected, rtol=1e-6)


def test_convert_image_dtype_rejects_what_cannot_be_exact():
    with pytest.raises(RuntimeError, match="float32 to int32 cannot be exact"):
        F.convert_image_dtype(Tensor(np.zeros((1, 1), np.float32)), np.int32)


def test_grayscale():
    wanted = np.asarray(pil(RGB).convert("L"))
    assert np.array_equal(F.to_grayscale(RGB), wanted)
    assert np.array_equal(np.asarray(T.Grayscale()(pil(RGB))), wanted)
    three = T.Grayscale(3)(RGB)
    assert three.shape == RGB.shape
    assert all(np.array_equal(three[..., c], wanted) for c in range(3))
    assert np.asarray(T.Grayscale(3)(pil(RGB))).shape == RGB.shape
    x = rng.random((3, 2, 2)).astype(np.float32)
    assert np.allclose(
        F.to_grayscale(Tensor(x)).numpy()[0], 0.2989 * x[0] + 0.587 * x[1] + 0.114 * x[2]
    )
    assert np.array_equal(F.to_grayscale(GRAY), GRAY)
    with pytest.raises(ValueError, match="is 1 or 3, got 2"):
        F.to_grayscale(RGB, 2)
    with pytest.raises(ValueError, match="1 or 3 channels, got 4"):
        F.to_grayscale(np.zeros((2, 2, 4), np.uint8))


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("start", "size", "max_size", "expected"),
    [
        ((6, 5), 10, None, (12, 10)),
        ((5, 6), [10], None, (10, 12)),
        ((10, 7), 3, None, (4, 3)),
        ((6, 5), (3, 9), None, (3, 9)),
        ((10, 100), 20, 50, (5, 50)),
        ((10, 1000), 5, 20, (1, 20)),
    ],
)
def test_resize_sizes(start, size, max_size, expected):
    resize = T.Resize(size, max_size=max_size)
    image = np.zeros(start, np.uint8)
    assert resize(image).shape == expected
    assert resize(Tensor(image[None])).shape == (1, *expected)
    assert resize(np.zeros((*start, 3))).shape == (*expected, 3)
    assert resize(pil(image)).size == expected[::-1]


@pytest.mark.parametrize("mode", list(T.InterpolationMode))
def test_pil_images_take_every_interpolation(mode):
    assert T.Resize(3, mode)(pil(GRAY)).size == (3, 3)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: T.Resize(0), ValueError, "at least 1, got 0"),
        (lambda: T.Resize((3, -1)), ValueError, "at least 1"),
        (lambda: T.Resize("3"), TypeError, "int or two ints"),
        (lambda: T.Resize((1, 2, 3)), ValueError, "one or two values"),
        (lambda: T.Resize(3, "cubist"), ValueError, "interpolation should be one of"),
        (lambda: T.Resize(3, max_size=3)(GRAY), ValueError, "max_size 3 should be above size 3"),
        (lambda: T.Resize((3, 3), max_size=9)(GRAY), ValueError, "max_size goes with an int"),
        (lambda: T.Resize(3, "bicubic")(GRAY), ValueError, "bicubic interpolation needs a PIL"),
        (lambda: T.Resize(3)(np.zeros((0, 4))), ValueError, "no pixels, 0 x 4"),
        (lambda: T.Resize(3)(np.zeros(4)), ValueError, r"\(H, W\) or \(H, W, C\), got \(4,\)"),
        (lambda: T.Resize(3)("a.png"), TypeError, "PIL Image, a Tensor or an ndarray, got str"),
        (lambda: T.Resize(3)(Tensor(np.ones(3))), ValueError, r"\(\.\.\., H, W\), got \(3,\)"),
    ],
)
def test_resize_rejects(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_gradient_is_not_lost_silently():
    x = Tensor(np.ones((1, 4, 4)), requires_grad=True)
    with pytest.raises(RuntimeError, match="lose the gradient"):
        F.resize(x, 2)
    with minicnn.no_grad():
        assert F.resize(x, 2).shape == (1, 2, 2)


@pytest.mark.parametrize(
    ("padding", "width"),
    [(2, ((2, 2), (2, 2))), ((1, 2), ((2, 2), (1, 1))), ((1, 2, 3, 4), ((2, 4), (1, 3)))],
)
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_pad(padding, width, mode):
    wanted = np.pad(GRAY, width, mode)
    transform = T.Pad(padding, padding_mode=mode)
    assert np.array_equal(transform(GRAY), wanted)
    assert np.array_equal(transform(Tensor(GRAY[None])).numpy()[0], wanted)
    assert np.array_equal(np.asarray(transform(pil(GRAY))), wanted)
    colour = np.asarray(transform(pil(RGB)))
    assert np.array_equal(colour, np.pad(RGB, (*width, (0, 0)), mode))


def test_pad_fill():
    assert T.Pad(1, 7)(GRAY)[0].tolist() == [7] * 7
    assert T.Pad(1, (1, 2, 3))(RGB)[0, 0].tolist() == [1, 2, 3]
    assert T.Pad(1, 0.5)(Tensor(np.zeros((1, 1, 1))))[0, 0, 0].item() == 0.5
    image = pil(GRAY > 99)
    assert T.Pad(1, 255)(image).mode == "1"
    assert pil(RGB, "P").getpalette() == T.Pad(1)(pil(RGB, "P")).getpalette()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: T.Pad(-1), ValueError, "not be negative, got -1"),
        (lambda: T.Pad((1, 2, 3)), ValueError, "1, 2 or 4 values"),
        (lambda: T.Pad(1.5), TypeError, "int or a sequence"),
        (lambda: T.Pad(1, padding_mode="wrap"), ValueError, "padding_mode is one of"),
        (lambda: T.Pad(6, padding_mode="reflect")(GRAY), ValueError, "larger image than 6 x 5"),
        (lambda: T.Pad(1, (1, 2))(RGB), ValueError, "fill should be one value or 3"),
    ],
)
def test_pad_rejects(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_center_crop():
    x = np.arange(30).reshape(5, 6)
    assert np.array_equal(T.CenterCrop(3)(x), x[1:4, 2:5])  # 1.5 is rounded to 2, as in torchvision
    assert np.array_equal(T.CenterCrop((1, 2))(Tensor(x)).numpy(), x[2:3, 2:4])
    grown = T.CenterCrop((6, 9))(x)
    assert grown.shape == (6, 9)
    assert np.array_equal(grown[:5, 1:7], x)
    assert grown.sum() == x.sum()
    assert T.CenterCrop(4)(pil(RGB)).size == (4, 4)


# ---------------------------------------------------------------- composition


def test_compose_and_lambda():
    transform = T.Compose([T.Lambda(lambda x: x + 1), T.Lambda(lambda x: x * 10)])
    assert transform(1) == 20
    with pytest.raises(TypeError, match="should be callable, got int"):
        T.Lambda(3)


def test_reprs_are_torchvisions():
    transform = T.Compose(
        [T.Resize(32), T.CenterCrop(28), T.Pad(2), T.ToTensor(), T.Normalize((0.1,), (0.3,))]
    )
    assert repr(transform) == (
        "Compose(\n"
        "    Resize(size=32, interpolation=bilinear, max_size=None, antialias=True)\n"
        "    CenterCrop(size=(28, 28))\n"
        "    Pad(padding=2, fill=0, padding_mode=constant)\n"
        "    ToTensor()\n"
        "    Normalize(mean=(0.1,), std=(0.3,))\n"
        ")"
    )
    assert [repr(t) for t in (T.Lambda(abs), T.ToPILImage(), T.ToPILImage("L"), T.Grayscale())] == [
        "Lambda()",
        "ToPILImage()",
        "ToPILImage(mode=L)",
        "Grayscale(num_output_channels=1)",
    ]
    assert repr(T.PILToTensor()) == "PILToTensor()"
    assert repr(T.ConvertImageDtype(minicnn.float32)) == "ConvertImageDtype()"


class Louder(T.Normalize):
    def __call__(self, x):
        return super().__call__(x) * 100


BATCHABLE = [
    T.ToTensor(),
    T.Compose([T.ToTensor(), T.Normalize((0.3,), (0.4,))]),
    T.Compose([T.Resize(9), T.Pad((1, 2), 30), T.ToTensor()]),
    T.Compose([T.Compose([T.Pad(2, padding_mode="reflect"), T.ToTensor()]), T.Resize((7, 9))]),
    T.Compose([T.CenterCrop(4), T.ToTensor(), T.Pad(1, 0.5), T.Normalize((0.3,), (0.4,), True)]),
    T.Compose([T.Resize((3, 3)), T.CenterCrop((8, 2)), T.ToTensor(), T.Resize(20)]),
]
NOT_BATCHABLE = [
    None,
    T.Lambda(lambda x: x),
    T.Resize(8),
    T.PILToTensor(),
    T.Compose([T.Resize(8, "nearest"), T.ToTensor()]),
    T.Compose([T.Resize(8, antialias=False), T.ToTensor()]),
    T.Compose([T.Lambda(lambda x: x), T.ToTensor()]),
]


@pytest.mark.parametrize("transform", BATCHABLE, ids=repr)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_at_once_equals_one_by_one(transform, channels):
    images = np.random.default_rng(3).integers(0, 256, (5, 6, 6, channels), np.uint8)
    one_by_one = np.stack([transform(x[:, :, 0] if channels == 1 else x).numpy() for x in images])
    at_once = batched(transform)(np.ascontiguousarray(np.moveaxis(images, 3, 1)))
    assert at_once.dtype == one_by_one.dtype == np.float32
    assert np.array_equal(at_once, one_by_one)


@pytest.mark.parametrize("transform", BATCHABLE, ids=repr)
@pytest.mark.parametrize("image", [GRAY[:5], RGB[:5]], ids=["gray", "rgb"])
def test_arrays_and_pil_images_give_equal_results(transform, image):
    assert takes_arrays(transform)
    assert np.array_equal(transform(image).numpy(), transform(pil(image)).numpy())


def test_what_is_not_batched():
    for transform in NOT_BATCHABLE:
        assert batched(transform) is None
        assert not takes_arrays(transform)
    for rest in (T.Lambda(lambda x: x), Louder((0.1,), (0.2,)), T.ToTensor()):
        transform = T.Compose([T.ToTensor(), rest])
        assert takes_arrays(transform)
        assert batched(transform) is None


def test_importing_is_light():
    program = (
        "import sys, minicnn.transforms, minicnn.datasets, minicnn.utils.data\n"
        "minicnn.datasets.Digits(transform=minicnn.transforms.Compose([\n"
        "    minicnn.transforms.Resize(28), minicnn.transforms.ToTensor()]))[0]\n"
        "heavy = {'PIL', 'pooch', 'requests', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
