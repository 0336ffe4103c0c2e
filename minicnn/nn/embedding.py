"""A table of learned vectors."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from . import init
from .module import Module
from .parameter import Parameter
from .state import copy_into


class Embedding(Module):
    """y[...] = weight[input[...]]: one vector of embedding_dim for each of num_embeddings numbers.

    weight (num_embeddings, embedding_dim) starts normal, mean 0 and variance 1, and zero at
    padding_idx. The other arguments: functional/embedding.py. ValueError for a padding_idx that is
    no row, or a weight of another shape.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding: padding_idx expects {-num_embeddings} to {num_embeddings - 1}, got "
                f"{padding_idx}"
            )
        if sparse:
            raise ValueError("Embedding: sparse gradients are not made; use sparse=False")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        shape = (num_embeddings, embedding_dim)
        if _weight is None:
            self.weight = Parameter(F.empty(shape, device=device, dtype=dtype), not _freeze)
            self.reset_parameters()
        elif tuple(_weight.shape) != shape:
            raise ValueError(f"Embedding: weight expects shape {shape}, got {_weight.shape}")
        else:
            self.weight = Parameter(_weight, not _freeze)

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            values = self.weight.array.copy()
            values[self.padding_idx] = 0
            copy_into(self.weight, values, "reset_parameters")

    def forward(self, input: Any) -> Any:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer over given vectors (num_embeddings, embedding_dim); fixed unless freeze=False.

        ValueError for other numbers of dimensions.
        """
        if embeddings.ndim != 2:
            raise ValueError(
                f"Embedding.from_pretrained: expects a matrix, got shape {tuple(embeddings.shape)}"
            )
        rows, size = embeddings.shape
        return cls(rows, size, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse,
                   _weight=embeddings, _freeze=freeze)  # fmt: skip

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        for name, usual in (("padding_idx", None), ("max_norm", None), ("norm_type", 2.0),
                            ("scale_grad_by_freq", False)):  # fmt: skip
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text
