"""PyTorch modules for what PyTorch has as functions only."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Lambda(nn.Module):
    """A function as a module.

    Args:
        function: the function.
    """

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Calls the function."""
        return self.function(*inputs)


class SamePadding(nn.Module):
    """Pads maps by other amounts before than after.

    Args:
        sides: for height and width, how much goes before and after.
        value: what is put there.
    """

    def __init__(self, sides: Sequence[tuple[int, int]], value: float = 0.0) -> None:
        super().__init__()
        (top, bottom), (left, right) = sides
        self.sides, self.value = (left, right, top, bottom), value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pads `x`."""
        return F.pad(x, self.sides, value=self.value)


class Sum(nn.Module):
    """Adds tensors."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Adds the inputs from left to right."""
        total = inputs[0]
        for x in inputs[1:]:
            total = total + x
        return total


class Mean(Sum):
    """Averages tensors."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Averages the inputs."""
        return super().forward(*inputs) / len(inputs)


class Product(nn.Module):
    """Multiplies tensors."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Multiplies the inputs from left to right."""
        product = inputs[0]
        for x in inputs[1:]:
            product = product * x
        return product


class Concatenate(nn.Module):
    """Joins tensors along their channels."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Joins the inputs."""
        return torch.cat(inputs, dim=1)


class DropPhotos(nn.Module):
    """Drops whole maps of some photos in training, and scales the others up (stochastic depth).

    Args:
        p: the share that is dropped.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiplies each photo's map by 0 or 1 / (1 - p)."""
        return x * F.dropout(x.new_ones(len(x), 1, 1, 1), self.p, self.training)


class Arithmetic(nn.Module):
    """An operation on two tensors, of which one may be a constant.

    Args:
        function: the operation.
        operands: the constants: numbers, or one number for each channel; `None` for an input.
    """

    def __init__(self, function: Callable[[Any, Any], torch.Tensor], operands: Sequence[Any]) -> None:
        super().__init__()
        self.function = function
        self.is_input = [operand is None for operand in operands]
        for index, operand in enumerate(operands):
            constant = None if operand is None else channels_of(np.asarray(operand, "float32"))
            self.register_buffer(f"operand_{index}", constant)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Applies the operation to the inputs and constants in their order."""
        given = iter(inputs)
        operands = [
            next(given) if is_input else getattr(self, f"operand_{index}")
            for index, is_input in enumerate(self.is_input)
        ]
        return self.function(*operands)


class InFloat32(nn.Module):
    """A module that computes in float32 where autocast is on.

    Args:
        module: the module.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Calls the module on the inputs in float32."""
        with torch.autocast(inputs[0].device.type, enabled=False):
            return self.module(*(x.float() for x in inputs))


def channels_of(values: np.ndarray) -> torch.Tensor:
    """Returns numbers for channels so that they can be combined with maps: `(channels, 1, 1)`, or one number."""
    tensor = torch.tensor(values, dtype=torch.float32)
    return tensor.reshape(-1, 1, 1) if tensor.ndim else tensor
