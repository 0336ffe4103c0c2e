"""Pictures in folders, one folder for each class: root/cat/0001.jpg, root/dog/xyz.png ..."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .vision import VisionDataset

IMG_EXTENSIONS = (*(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),)


def has_file_allowed_extension(filename: str, extensions: str | Sequence[str]) -> bool:
    """Whether the name ends in one of the extensions; capitals do not matter."""
    wanted = (extensions,) if isinstance(extensions, str) else tuple(extensions)
    return filename.lower().endswith(wanted)


def is_image_file(filename: str) -> bool:
    """Whether the name ends as a picture's does; see IMG_EXTENSIONS."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
    """The names of the folders in `directory`, sorted, and the index of each.

    FileNotFoundError if there are none.
    """
    entries = os.scandir(os.fspath(directory))
    classes: list[str] = sorted(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {os.fspath(directory)}.")
    return classes, {name: index for index, name in enumerate(classes)}


def make_dataset(
    directory: str | os.PathLike[str],
    class_to_idx: dict[str, int] | None = None,
    extensions: str | Sequence[str] | None = None,
    is_valid_file: Callable[[str], bool] | None = None,
    allow_empty: bool = False,
) -> list[tuple[str, int]]:
    """(path, class) of the files in the folders of the classes and in the folders within, sorted.

    Args: class_to_idx, default: what find_classes gives; extensions or is_valid_file, one of the
    two, says which files count; allow_empty, a class may have no files.
    Raises FileNotFoundError for a class without files, ValueError for both rules or none.
    """
    directory = os.path.expanduser(os.fspath(directory))
    classes = find_classes(directory)[1] if class_to_idx is None else class_to_idx
    if not classes:
        raise ValueError("make_dataset: class_to_idx should name at least one class")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError("make_dataset: give either extensions or is_valid_file")
    if extensions is not None:
        allowed = extensions

        def is_valid_file(path: str) -> bool:
            return has_file_allowed_extension(path, allowed)

    samples, empty = [], []
    for name in sorted(classes):
        found = [p for p in _files(os.path.join(directory, name)) if is_valid_file(p)]  # type: ignore[misc]
        samples += [(path, classes[name]) for path in found]
        if not found:
            empty.append(name)
    if empty and not allow_empty:
        text = f"Found no valid file for the classes {', '.join(empty)} in {directory}."
        if extensions is not None:
            names = extensions if isinstance(extensions, str) else ", ".join(extensions)
            text += f" Supported extensions are: {names}"
        raise FileNotFoundError(text)
    return samples


def _files(folder: str) -> Iterator[str]:
    """All files below `folder`, sorted; links to folders are followed, each folder is seen once."""
    seen, places = set(), []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()  # by which of its names a folder is seen should not depend on the disk
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        places.append((place, names))
    for place, names in sorted(places):
        yield from (os.path.join(place, name) for name in sorted(names))


def pil_loader(path: str | os.PathLike) -> Any:
    """The picture as an RGB PIL image.

    Raises ValueError, which names the file, for one that Pillow cannot read, that is broken, or
    that would take too much memory; OSError if there is no such file.
    """
    from PIL import Image

    with readable(path), open(path, "rb") as file, Image.open(file) as image:
        return image.convert("RGB")


@contextlib.contextmanager
def readable(path: str | os.PathLike) -> Iterator[None]:
    """Errors of Pillow's in the block become a ValueError that names the file."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        raise ValueError(f"{os.fspath(path)} is no picture that Pillow can read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.filename:  # the system's words, with the name
            raise
        raise ValueError(f"{os.fspath(path)} cannot be read: {error}") from None


default_loader = pil_loader


class DatasetFolder(VisionDataset):
    """Files in folders, one folder for each class.

    Args:
        root: the folder of the folders.
        loader: called with a path; gives the sample.
        extensions, is_valid_file: which files count; one of the two.
        transform, target_transform: applied to the sample and to its class.
        allow_empty: a class may have no files.

    Attributes: classes, sorted names; class_to_idx; samples, a list of (path, class); targets, the
    classes of the samples; root, loader, extensions.

    Raises FileNotFoundError if there is no folder of a class, or no file in one of them.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        loader: Callable[[str], Any],
        extensions: str | Sequence[str] | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ):
        super().__init__(root, transform, target_transform)
        names, self._indices = self.find_classes(self.root)  # type: ignore[arg-type]
        self.classes = names  # type: ignore[misc]
        self.loader = loader
        self.extensions = extensions
        self.samples = self.make_dataset(
            self.root,  # type: ignore[arg-type]
            self._indices,
            extensions,
            is_valid_file,
            allow_empty,
        )
        self.targets = [target for _, target in self.samples]

    find_classes = staticmethod(find_classes)
    make_dataset = staticmethod(make_dataset)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The index of each class's name."""
        return self._indices

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        path, target = self.samples[index]
        sample = self.loader(path)
        if self.transform is not None:
            sample = self.transform(sample)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return sample, target

    def __len__(self) -> int:
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """Pictures in folders, one folder for each class: (image, class) pairs.

    Args and attributes as of DatasetFolder, and `imgs`, the same as `samples`. Pictures are those
    whose names end in IMG_EXTENSIONS, unless is_valid_file says otherwise; the loader gives RGB PIL
    images.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        loader: Callable[[str], Any] = default_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ):
        super().__init__(
            root,
            loader,
            IMG_EXTENSIONS if is_valid_file is None else None,
            transform,
            target_transform,
            is_valid_file,
            allow_empty,
        )
        self.imgs = self.samples
