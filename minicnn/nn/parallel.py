"""DataParallel, by PyTorch's name, on one device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .module import Module


class DataParallel(Module):
    """`module` as it is, under the name "module", so that state_dict's keys begin with "module.".

    Several GPUs at one training are not used yet; programs that wrap their network all the same run
    on the device that it is on, as they do under PyTorch without a second GPU.

    Args:
        module: the network.
        device_ids: at most one GPU.
        output_device, dim: accepted; there is nothing to gather.

    Raises:
        ValueError: several GPUs.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        self.device_ids = list(device_ids or [])
        if len(self.device_ids) > 1:
            raise ValueError(
                f"DataParallel: device_ids expects one GPU at most, got {self.device_ids}; several "
                "at one training are not used yet"
            )
        self.module = module
        self.output_device, self.dim = output_device, dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)
