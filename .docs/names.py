"""Code spans that are public names become links, in docstrings and on pages."""

import functools
import importlib
import inspect
import re
import types

import griffe

import korvax_eqx as ke

# What holds code that is no reference: blocks, links, headings, lists of arguments.
_SKIPPED = re.compile(
    r"^```.*?^```|\[[^\]]*\]|^#[^\n]*$|^\s*- `[^`]+`(?:, `[^`]+`)*:",
    re.MULTILINE | re.DOTALL,
)
# Not what belongs to another project: "audiocraft's `MRSTFTLoss`".
_SPAN = re.compile(
    r"(?<!`)(?<!'s )`((?:ke\.|korvax_eqx\.)?(\w+(?:\.\w+)?))(\([^`]*\))?`(?!`)"
)


@functools.cache
def public() -> dict[str, str]:
    """Return every public name, with its path."""
    found = {}
    for module, prefix in (
        (ke, ""),
        (ke.recipes, "recipes."),
        (ke.plot, "plot."),
        (ke.loss, "loss."),
    ):
        for name, value in vars(module).items():
            is_ours = getattr(value, "__module__", "").startswith("korvax_eqx")
            if name.startswith("_") or isinstance(value, types.ModuleType):
                continue
            if is_ours and (inspect.isclass(value) or inspect.isfunction(value)):
                found[prefix + name] = f"{module.__name__}.{name}"
    # What `loss` has of classes is documented under the package.
    for name, path in list(found.items()):
        if name.startswith("loss."):
            found[name] = found.get(name.removeprefix("loss."), path)
    for name in [n.removeprefix("recipes.") for n in found if n.startswith("recipes.")]:
        found.setdefault(name, found[f"recipes.{name}"])
    return found


def linked(text: str, without: str = "") -> str:
    """Return Markdown with its public names as links, but not that of `without`."""

    def link(match: re.Match[str]) -> str:
        path = public().get(match[2])
        if path is None or path == without:
            return match[0]
        return f"[{match[0]}][{path}]"

    parts, at = [], 0
    for skipped in _SKIPPED.finditer(text):
        parts += [_SPAN.sub(link, text[at : skipped.start()]), skipped[0]]
        at = skipped.end()
    return "".join([*parts, _SPAN.sub(link, text[at:])])


class Names(griffe.Extension):
    """Links names in docstrings, and writes defaults as values, not as names."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        del kwargs
        if obj.docstring is not None:
            short = obj.path.rpartition(".")[2]
            own = public().get(short, "")
            obj.docstring.value = linked(obj.docstring.value, own)
        if isinstance(obj, griffe.Function):
            defaults = _defaults(obj.path)
            for parameter in obj.parameters:
                if parameter.name in defaults:
                    parameter.default = defaults[parameter.name]


def _defaults(path: str) -> dict[str, str]:
    """Return the values of the arguments that a function has by default."""
    # A module's path, then the names within it.
    names, found = path.split("."), None
    for n in range(len(names), 0, -1):
        try:
            found = importlib.import_module(".".join(names[:n]))
        except ImportError:
            continue
        break
    try:
        for name in names[n:]:
            found = inspect.getattr_static(found, name)
        parameters = inspect.signature(found).parameters.values()
    except (AttributeError, TypeError, ValueError):
        return {}
    return {p.name: repr(p.default) for p in parameters if p.default is not p.empty}
