"""Layers that read the sizes they need off their first input."""

from __future__ import annotations

from typing import Any

from .module import Module
from .parameter import is_lazy


class LazyModule(Module):
    """Mixed into a layer in front of its class, `becomes`, which it turns into when first called.

    The subclass writes `infer_shapes(input)`, which materializes the parameters, and `loaded()`,
    which sets what a state_dict that came first tells.
    """

    becomes: type[Module] = Module

    def infer_shapes(self, input: Any) -> None:
        """Materializes the uninitialized parameters and buffers."""
        raise NotImplementedError(f"{type(self).__name__}: the lazy layer has no infer_shapes")

    def loaded(self) -> None:
        """Sets the sizes that the loaded parameters have."""
        raise NotImplementedError(f"{type(self).__name__}: the lazy layer has no loaded method")

    def has_uninitialized_params(self) -> bool:
        """True until the first call, or until a state_dict was loaded."""
        members = [*self._parameters.values(), *self._buffers.values()]
        return any(is_lazy(t) for t in members)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.has_uninitialized_params():
            self.infer_shapes(*args, **kwargs)
            self.reset_parameters()
        else:
            self.loaded()
        self.__class__ = self.becomes  # type: ignore[assignment]
        return self(*args, **kwargs)
