"""Exchange with the outside: `minicnn.save`, and `minicnn.load` for the files of others too.

storage.py          save and load, which tells a file's format by its content
structure.py        nested data in a safetensors file
torch_files.py      .pth files: the zip format and the older stream
pickle_machine.py   the interpreter of their pickles, which runs nothing of theirs
allowed.py          the names that a pickle may use; tensors.py: storages and tensors; plain.py
zip_records.py      zip archives that may lie; numpy_files.py: .npy and .npz
files.py            files that are whole or not there
"""

from .safetensors import FormatError
from .storage import load, read_metadata, save

__all__ = ["FormatError", "load", "read_metadata", "save"]
