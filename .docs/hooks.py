"""Makes the pages: cuts the README, lists what is public, renders the notebook."""

import importlib.util
import inspect
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import latex2mathml.converter
import nbformat
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

import korvax_eqx as ke

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("names", ROOT / ".docs" / "names.py")
assert _spec is not None and _spec.loader is not None
names = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(names)

# Sections of the README, by page; what is named nowhere is on the page of questions.
OWN_PAGES = {
    "Start": "index.md",
    "A loss of your own": "own_parts.md",
    "Contributing": "own_parts.md",
    "Several devices": "devices.md",
    "Speed and memory": "benchmarks.md",
    "Changes": "changes.md",
}
# Files of the repository, by page.
PAGES = {
    "README.md": "index.md",
    ".docs/README.md": "index.md",
    "examples/README.md": "measured.md",
    "examples/porting.md": "porting.md",
    "examples/tour.ipynb": "tour.md",
    "tests/benchmarks/README.md": "benchmarks.md",
    "tests/benchmarks/RECIPES.md": "benchmarks.md",
}
# Kinds of classes, by the folder of the package that they are in.
KINDS = {
    "maps": ("Signal maps", ["_maps"]),
    "transforms": ("Transforms", ["_transforms"]),
    "scales": ("Scales", ["_scales"]),
    "spectral_losses": ("Losses on spectra", ["_losses"]),
    "time_losses": ("Losses on signals, in time", ["_time_domain"]),
    "composition": ("Time-frequency losses and composition", ["_composites"]),
    "bases": ("Bases and data", ["_core", "_data", "_engine"]),
    "saving": ("Saving", ["_saving"]),
}


def on_files(files: Files, config: Any) -> Files:
    """Add all pages and pictures."""
    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    for path in sorted((ROOT / "examples" / "pictures").iterdir()):
        where = f"examples/pictures/{path.name}"
        files.append(File.generated(config, where, abs_src_path=str(path)))
    for name, content in tour()[1].items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Link public names on pages; porting has them in code blocks only."""
    del page, kwargs
    return names.linked(markdown)


def on_page_content(html: str, **kwargs: Any) -> str:
    """Render formulas as MathML, which browsers draw without any script."""
    del kwargs
    html = re.sub(
        r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>',
        lambda m: _math(m[3], m[2] == "["),
        html,
        flags=re.DOTALL,
    )
    assert "arithmatex" not in html
    return html


def _math(formula: str, is_block: bool) -> str:
    for escaped, plain in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        formula = formula.replace(escaped, plain)
    display = "block" if is_block else "inline"
    math = latex2mathml.converter.convert(formula, display=display)
    return f'<div class="formula">{math}</div>' if is_block else math


# --- Pages from Markdown files --------------------------------------------------


def pages() -> dict[str, str]:
    """Return all pages of text by their names."""
    readme = (ROOT / "README.md").read_text("utf-8")
    first, *sections = re.split(r"^## ", readme, flags=re.MULTILINE)
    texts = {"index.md": [first], "own_parts.md": ["# Your own parts\n\n"]}
    texts |= {
        "questions.md": ["# By question\n\n"],
        "devices.md": ["# Devices\n\n"],
        "benchmarks.md": ["# Benchmarks\n\n"],
        "changes.md": ["# Changes\n\n"],
    }
    anchors = {}
    for section in sections:
        title, _, body = section.partition("\n")
        page = OWN_PAGES.get(title, "questions.md")
        anchors[_slug(title)] = page
        headings = ("By question", "Changes")
        texts[page].append(body if title in headings else f"## {title}\n{body}")
    made = {name: _relinked("".join(t), ".", anchors) for name, t in texts.items()}
    for file in ("README.md", "RECIPES.md"):
        text = _file(f"tests/benchmarks/{file}", anchors)
        made["benchmarks.md"] += "\n" + re.sub(r"^(#+) ", r"#\1 ", text, flags=re.M)
    made["measured.md"] = _file("examples/README.md", anchors)
    made["porting.md"] = re.sub(
        r"^```python (torch|jax)( draws)?$",
        r"```python",
        _file("examples/porting.md", anchors),
        flags=re.MULTILINE,
    )
    made["index.md"] = re.sub(r"^```python \w+$", "```python", made["index.md"])
    made["questions.md"] = re.sub(
        r"^```python (flax|haiku)$", "```python", made["questions.md"], flags=re.M
    )
    made["tour.md"] = _relinked(tour()[0], "examples", anchors)
    made["losses.md"], made["recipes.md"] = losses(), recipes()
    return {**made, **reference()}


def _file(path: str, anchors: dict[str, str]) -> str:
    text = (ROOT / path).read_text("utf-8")
    return _relinked(text, str(Path(path).parent), anchors)


def _slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def _relinked(text: str, folder: str, anchors: dict[str, str]) -> str:
    """Let links to files of the repository lead to their pages, if they have one."""

    def link(match: re.Match[str]) -> str:
        mark, label, target = match.groups()
        if "://" in target:
            return match[0]
        path, _, anchor = target.partition("#")
        if not path:  # in the README, of any page; elsewhere of the same one
            page = anchors.get(anchor, "") if folder == "." else ""
            return f"{mark}[{label}]({page}#{anchor})"
        where = (ROOT / folder / path).resolve().relative_to(ROOT).as_posix()
        if mark:  # those of the notebook are in no file
            is_file = (ROOT / where).exists()
            return f"{mark}[{label}]({where})" if is_file else match[0]
        if where not in PAGES:
            return label
        return f"[{label}]({PAGES[where]}{'#' + anchor if anchor else ''})"

    # Not in blocks of code.
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    pattern = re.compile(r"(!?)\[((?:[^\[\]]|`[^`]*`)*)\]\(([^()\s]+)\)")
    return "".join(p if p.startswith("```") else pattern.sub(link, p) for p in parts)


def tour() -> tuple[str, dict[str, bytes]]:
    """Return the notebook as Markdown, and its pictures."""
    notebook = nbformat.read(ROOT / "examples" / "tour.ipynb", as_version=4)
    exporter = MarkdownExporter()
    text, resources = exporter.from_notebook_node(
        notebook, {"unique_key": "tour", "output_files_dir": "tour"}
    )
    # Sounds are HTML, whose indentation Markdown would take for code.
    text = re.sub(r"^ +(?=</?(audio|source|Your browser))", "", text, flags=re.M)
    text = re.sub(r"\n *(?=<source|Your browser|</audio>)", "", text)
    return text, dict(resources["outputs"])


# --- Pages from the package -----------------------------------------------------


def classes(rooms: list[str]) -> Iterator[tuple[str, type]]:
    """Yield the public classes of some folders of the package."""
    for name, value in sorted(vars(ke).items(), key=lambda item: item[0].lower()):
        if not name.startswith("_") and inspect.isclass(value):
            if value.__module__.split(".")[1] in rooms:
                yield name, value


def functions(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the public functions of a module."""
    return {
        name: value
        for name, value in sorted(vars(module).items(), key=lambda i: i[0].lower())
        if inspect.isfunction(value) and not name.startswith("_")
    }


def _summary(value: Any) -> str:
    """Return the first line of a docstring, for a cell of a table."""
    doc = inspect.getdoc(value) or ""
    line = " ".join(doc.partition("\n\n")[0].split())
    # In a formula, a bar would end the cell.
    return re.sub(
        r"\$[^$]+\$",
        lambda m: m[0].replace(r"\|", r"\Vert ").replace("|", r"\vert "),
        line,
    )


def _directives(title: str, paths: list[str]) -> str:
    return f"# {title}\n\n" + "\n".join(f"::: {path}\n" for path in paths)


def reference() -> dict[str, str]:
    """Return the pages of the reference, one for each kind."""
    made = {}
    for kind, (title, rooms) in KINDS.items():
        paths = [f"korvax_eqx.{name}" for name, _ in classes(rooms)]
        if kind == "saving":
            paths += [
                f"korvax_eqx.{name}"
                for name, value in functions(ke).items()
                if value.__module__.split(".")[1] == "_saving"
            ]
        made[f"api/{kind}.md"] = _directives(title, paths)
    others = [
        f"korvax_eqx.{name}"
        for name, value in functions(ke).items()
        if value.__module__.split(".")[1] != "_saving"
    ]
    others += [f"korvax_eqx.loss.{name}" for name in functions(ke.loss)]
    made["api/functions.md"] = _directives("Functions", others)
    plots = [f"korvax_eqx.plot.{name}" for name in functions(ke.plot)]
    made["api/plot.md"] = _directives("Plots", plots)
    found = {name for _, rooms in KINDS.values() for name, _ in classes(rooms)}
    missing = {n for n, v in vars(ke).items() if inspect.isclass(v)} - found
    assert not missing, f"on no page of the reference: {missing}"
    return made


def losses() -> str:
    """Return the table of all losses and parts, with links."""
    text = "# Losses and parts\n\n"
    for kind, (title, rooms) in KINDS.items():
        rows = [
            f"| [`{name}`][korvax_eqx.{name}] | {_summary(value)} |"
            for name, value in classes(rooms)
        ]
        if kind in ("bases", "saving") or not rows:
            continue
        text += f"## {title}\n\n| | |\n| --- | --- |\n" + "\n".join(rows) + "\n\n"
    rows = [
        f"| [`recipes.{name}`][korvax_eqx.recipes.{name}] | {_summary(value)} |"
        for name, value in functions(ke.recipes).items()
    ]
    return text + "## Recipes\n\n| | |\n| --- | --- |\n" + "\n".join(rows) + "\n"


def recipes() -> str:
    """Return the page of recipes."""
    paths = [f"korvax_eqx.recipes.{name}" for name in functions(ke.recipes)]
    return _directives("Recipes", paths)
