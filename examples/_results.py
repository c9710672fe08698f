"""Files of results that the examples write."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_csv(rows: Sequence[Any], path: Path) -> None:
    """Write dataclasses or mappings of the same fields, one a line."""
    table = [r if isinstance(r, Mapping) else dataclasses.asdict(r) for r in rows]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
