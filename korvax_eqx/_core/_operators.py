"""The operators `+`, `-`, `*` and `/` of losses, which return a `SumLoss`.

`SumLoss` is defined in a higher layer, which this module does not import. That layer
registers here how to make one.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np

# A function from pairs of a loss and its weight to their sum.
Summed = Callable[[Sequence[tuple[Any, Any]]], Any]
_makers: list[Summed] = []


def makes_sums(maker: Summed) -> Summed:
    """Register the function that the operators call to make a sum."""
    _makers.append(maker)
    return maker


def _sum_of(*pairs: tuple[Any, Any]) -> Any:
    return _makers[-1](pairs)


class AbstractOperand(eqx.Module):
    """Base class with the operators: `a + 0.5 * b` is a `SumLoss`.

    `+` and `-` take losses on signals, one of which may be a function. `*` and `/` take
    a number or a JAX scalar. Anything else raises `TypeError`.
    """

    # Otherwise NumPy scalars on the left would multiply element by element.
    __array_ufunc__: ClassVar[None] = None

    @abstractmethod
    def terms(self, *, key: Any = None) -> tuple[Any, ...]:
        """Return the terms that a sum weights."""

    def __add__(self, other: Any) -> Any:
        return _sum_of((self, 1), (other, 1)) if callable(other) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        if type(other) is int and other == 0:  # `sum` starts with 0
            return self
        return _sum_of((other, 1), (self, 1)) if callable(other) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return _sum_of((self, 1), (other, -1)) if callable(other) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return _sum_of((other, 1), (self, -1)) if callable(other) else NotImplemented

    def __mul__(self, other: Any) -> Any:
        return _sum_of((self, other)) if _is_number(other) else NotImplemented

    def __rmul__(self, other: Any) -> Any:
        return self.__mul__(other)

    def __truediv__(self, other: Any) -> Any:
        return _sum_of((self, 1 / other)) if _is_number(other) else NotImplemented

    def __neg__(self) -> Any:
        return _sum_of((self, -1))

    def __pos__(self) -> Any:
        return self


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        return False
    return isinstance(value, int | float | np.integer | np.floating | jax.Array)
