"""The layout of the package: rooms in one order, short files, registered classes."""

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import pytest
import skips
import slices
from registry import ALL

import korvax_eqx as ke
from korvax_eqx._saving._registry import CLASSES, NOT_SAVED

ROOT = Path(ke.__file__).parent

# From the ground up. A room may import from those before it and from itself. A room is
# a folder, or a module of this name; the longest name that fits decides.
ROOMS = (
    "_version",
    "_static",
    "_tree",
    "_names",
    "_scope",
    "_missing",
    "_repr",
    "_messages",
    "_checks",
    "_keys",
    "_leaves",
    "_warnings",
    "_compile",
    "_types",
    "_axes",
    "_platform",
    "_tables",
    "_numerics",
    "_data",
    "_engine",
    "_core",
    "_maps",
    "_scope_check",
    "_scales",  # before transforms: MFCC takes decibels of a mel spectrogram
    "_transforms",
    "_losses",
    "_time_domain",
    "_composites",
    "loss",
    "_recipes",
    "recipes",
    "_plot",
    "plot",
    "_saving",
    "_cli",
    "__init__",
    "__main__",
)
# What may be missing, and is imported where it is used.
OPTIONAL = {"matplotlib", "optax", "rich", "soundfile", "jax_tqdm"}


class Import(NamedTuple):
    source: str
    target: str
    is_nested: bool
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def module_files() -> dict[str, Path]:
    """Every module of the package by its path, `_scales/_log.py` as `_scales._log`."""
    files = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = len(parts) > 1 and parts[-1] == "__init__"
        files[".".join(parts[:-1] if is_package else parts)] = path
    return files


FILES = module_files()


def imports_of(module: str) -> Iterator[Import]:
    """All imports of a module; those of the package by the name of its module.

    Those under `TYPE_CHECKING` too: a reader follows them like any other. They are
    nested, as what is imported by functions: nothing of them runs at once.
    """
    path = FILES[module]
    package = ("korvax_eqx", *path.relative_to(ROOT).parts[:-1])

    def found(node: ast.AST, is_nested: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, is_nested, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            parts = (*base, *((node.module,) if node.module else ()))
            for alias in node.names:
                inner = ".".join((*parts, alias.name)).removeprefix("korvax_eqx.")
                is_module = parts[0] == "korvax_eqx" and inner in FILES
                target = f"korvax_eqx.{inner}" if is_module else ".".join(parts)
                yield Import(module, target, is_nested, node.lineno)
        is_inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_if = isinstance(node, ast.If)
        is_inner |= is_if and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.iter_child_nodes(node):
            yield from found(child, is_nested or is_inner)

    yield from found(ast.parse(path.read_text("utf-8")), False)


IMPORTS = [imported for module in FILES for imported in imports_of(module)]
INNER = [
    imported._replace(target=imported.target.removeprefix("korvax_eqx.") or "__init__")
    for imported in IMPORTS
    if imported.target.split(".")[0] == "korvax_eqx"
]


def room_of(module: str) -> str:
    return "__init__" if module == "korvax_eqx" else module.split(".")[0]


def test_every_module_has_a_room():
    assert {room_of(module) for module in FILES} <= set(ROOMS)


def test_imports_were_found():
    """The walk sees relative and absolute imports, of modules and of names."""
    pairs = {(one.source, one.target) for one in INNER}
    assert ("_transforms._mfcc", "_checks") in pairs
    assert ("_transforms._mfcc", "_core._steps") in pairs
    assert ("_engine._total", "_engine._call") in pairs
    assert ("__init__", "_scales._log") in pairs
    assert ("__init__", "loss") in pairs
    assert all(one.target in FILES for one in INNER)
    assert {source for source, _ in pairs} > {"_saving._file", "_cli._main", "plot"}


def test_imports_run_downward():
    upward = [
        str(one)
        for one in INNER
        if ROOMS.index(room_of(one.target)) > ROOMS.index(room_of(one.source))
    ]
    assert upward == []


def test_no_room_imports_in_a_circle():
    """Also within a room no module is imported by what it imports."""
    below: dict[str, set[str]] = {module: set() for module in FILES}
    for one in INNER:
        below[one.source].add(one.target)
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for other in sorted(below[module]):
                visit(other, (*above, module))
            done.add(module)

    for module in FILES:
        visit(module, ())
    assert done == set(FILES)


def test_imports_inside_functions_are_of_what_may_be_missing():
    nested = [one for one in IMPORTS if one.is_nested]
    assert nested  # matplotlib's
    assert [str(n) for n in nested if n.target.split(".")[0] not in OPTIONAL] == []


def _packages(requirements: list[str]) -> set[str]:
    return {re.split(r"\W", name)[0] for name in requirements}


def test_modules_import_what_is_always_installed():
    """And look for nothing else: no result hangs on what is installed beside it."""
    settings = Path(__file__).parent.parent / "pyproject.toml"
    project = tomllib.loads(settings.read_text("utf-8"))["project"]
    always = {
        *sys.stdlib_module_names,
        "korvax_eqx",
        *_packages(project["dependencies"]),
    }
    command_line = _packages(project["optional-dependencies"]["audio"])
    for one in IMPORTS:
        package = one.target.split(".")[0]
        is_command_line = room_of(one.source) == "_cli"
        assert package in always or one.is_nested or is_command_line, str(one)
        assert package in always | OPTIONAL | command_line, str(one)
        assert package not in ("importlib", "pkgutil") or is_command_line, str(one)


@pytest.mark.parametrize("module", FILES)
def test_files_are_short(module):
    assert len(FILES[module].read_text("utf-8").splitlines()) <= 400


@pytest.mark.parametrize("module", FILES)
def test_every_module_says_what_it_is(module):
    """All but the empty ones that make a folder a package."""
    text = FILES[module].read_text("utf-8")
    assert not text or ast.get_docstring(ast.parse(text))


def is_internal(cls: type[Any]) -> bool:
    """Whether a class is a part of others alone, e.g. the last step of `MFCC`."""
    return cls.__name__.startswith("_")


def classes() -> list[type[eqx.Module]]:
    """Every module class that the package defines: none is in the command line."""
    others = ("_cli", "__init__", "__main__")
    names = [name for name in FILES if room_of(name) not in others]
    modules = [import_module(f"korvax_eqx.{name}") for name in names]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, eqx.Module)
        and value.__module__.startswith("korvax_eqx.")
    }
    return sorted(found, key=lambda cls: cls.__qualname__)


CLASSES_OF_PACKAGE = classes()
BASES = (
    ke.AbstractTransform,
    ke.AbstractScale,
    ke.AbstractSpectralLoss,
    ke.AbstractBatchLoss,
    ke.AbstractLoss,
    ke.AbstractSignalMap,
)
PARTS = [
    cls
    for cls in CLASSES_OF_PACKAGE
    if issubclass(cls, BASES)
    and not inspect.isabstract(cls)
    and not is_internal(cls)
    and cls is not ke.BoundLoss  # which `bind` makes
]


def test_every_base_is_public():
    own = {cls for cls in CLASSES_OF_PACKAGE if issubclass(cls, BASES)}
    abstract = {cls for cls in own if inspect.isabstract(cls) and not is_internal(cls)}
    assert [cls for cls in abstract if getattr(ke, cls.__name__, None) is not cls] == []


@pytest.mark.parametrize("cls", [*PARTS, ke.BoundLoss], ids=lambda cls: cls.__name__)
def test_every_part_is_public_and_saved(cls):
    """Or it is said why it is not saved."""
    assert getattr(ke, cls.__name__) is cls
    assert (CLASSES.get(cls.__name__) is cls) != (cls in NOT_SAVED)


def test_every_part_is_in_the_registry_of_the_tests():
    assert {type(case.make()) for case in ALL} == set(PARTS)


def test_losses_are_in_the_module_of_losses():
    losses = (ke.AbstractLoss, ke.AbstractSpectralLoss, ke.AbstractBatchLoss)
    for cls in PARTS:
        assert hasattr(ke.loss, cls.__name__) == issubclass(cls, losses), cls


def test_help_shows_every_public_name():
    """`help(korvax_eqx)` has one line for each class and function."""
    assert ke.__doc__ is not None
    listed = set(re.findall(r"^    (\w+): ", ke.__doc__, re.MULTILINE))
    public = {
        name
        for name, value in vars(ke).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
    }
    assert public - {"LoadError", "BoundLoss"} <= listed
    assert listed <= set(vars(ke))


@pytest.mark.parametrize("tests", [skips.PEERS, skips.ELSEWHERE], ids=["peers", "else"])
def test_every_test_that_may_be_skipped_is_one(tests):
    for file, names in tests.items():
        tree = ast.parse((Path(__file__).parent / file).read_text("utf-8"))
        functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
        names = {name.partition("[")[0] for name in names}
        assert names <= functions, names - functions


@pytest.mark.parametrize("most", [1, 2, 4])
def test_some_cases_of_every_test_run_and_all_slices_are_all(most):
    for n in range(1, 200):
        chosen = [slices.of(n, start, most) for start in range(n)]
        assert all(1 <= len(cases) <= most for cases in chosen)
        assert set().union(*chosen) == set(range(n))
