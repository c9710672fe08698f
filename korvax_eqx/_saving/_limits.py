"""Limits of what a file may ask for, checked before anything is made from it."""

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from korvax_eqx._tables._size import counted

from ._error import LoadError, join, place

MAX_DEPTH = 64
"""Largest depth of nested modules and sequences."""

MAX_ENTRIES = 2**16
"""Largest number of values in a config; an array in base64 counts as one."""

MAX_TABLE_VALUES = 2**25
"""Largest number of values in all tables (windows, kernels, filter banks) of a file.

Computing a value takes about 45 ns, all of them about two seconds.
"""

MAX_COMPILED = 64
"""Largest number of shapes for which JAX compiles something, 25 ms for each."""


@dataclasses.dataclass
class Budget:
    """How much of the limits one file or config has used."""

    entries: int = 0
    table_values: int = 0
    compiled: set[Any] = dataclasses.field(default_factory=set)

    def enter(self, where: str, depth: int) -> None:
        """Count one value at a depth of nesting."""
        if depth > MAX_DEPTH:
            raise LoadError(f"{place(where)}: nested more than {MAX_DEPTH} deep.")
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise LoadError(
                f"{place(where)}: more than {MAX_ENTRIES} values. Write large arrays "
                "in base64, as `to_config` does."
            )

    def compile(self, kind: Any, where: str) -> None:
        """Count a program that JAX compiles, once for each kind."""
        self.compiled.add(kind)
        if len(self.compiled) > MAX_COMPILED:
            raise LoadError(
                f"{place(where)}: more than {MAX_COMPILED} shapes for which JAX would "
                "compile something: weakly typed arrays, and sequences of arrays."
            )

    def arguments(self, arguments: Mapping[str, Any], where: str) -> None:
        """Count what JAX compiles for sequences of arrays among the arguments."""
        for name, value in arguments.items():
            if isinstance(value, list | tuple):
                if any(isinstance(item, jax.Array) for item in value):
                    self.compile(len(value), join(where, name))

    def tables(self, where: str) -> contextlib.AbstractContextManager[None]:
        """Count the tables that the package's classes make inside this context.

        A few digits in a file can ask for a window of any length, and constructors make
        their tables at once, to check them.
        """
        return counted(lambda n_values: self._count(n_values, where))

    def _count(self, n_values: int, where: str) -> None:
        self.table_values += n_values
        if self.table_values > MAX_TABLE_VALUES:
            raise LoadError(
                f"{place(where)}: the sizes are too large. All tables together would "
                f"have more than {MAX_TABLE_VALUES} values."
            )
