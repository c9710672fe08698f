"""A loss as a dictionary of plain values, to keep in an experiment's config."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from korvax_eqx._warnings import without_warnings

from ._decode import Decoder
from ._encode import Encoder, argument_values, is_static
from ._error import LoadError, join, place
from ._registry import CLASSES, with_custom


def to_config(loss: eqx.Module) -> dict[str, Any]:
    """Return the class and the constructor arguments of a loss as plain values.

    The result contains only JSON and YAML types, and can be edited by hand: `{"class":
    "ElementwiseLoss", "arguments": {"metric": "L1"}}`. All arguments are written, so a
    config keeps its meaning if a default changes. In a config,

    - a list is a tuple, e.g. `["kaiser", 8.0]` for a SciPy window; a Python list is
        `{"list": [...]}`, e.g. the windows of `MRSTFTLoss(window=[...])`;
    - a dictionary, e.g. the losses of a `SumLoss` by name, is a list of pairs,
        `{"pairs": [["stft", ...], ["wave", ...]]}`, so that sorting keys keeps the
        meaning. `{"dict": {...}}`, written before 0.3, is read as well;
    - a module is `{"class": ..., "arguments": {...}}`;
    - a NumPy array (configuration) is `{"numpy": {"dtype": "float32", "shape": [2],
        "values": [0.5, 1.0]}}`, and a JAX array (learnable) is the same under
        `"array"`; more than 64 values are written in base64 instead of `"values"`;
    - an infinity is `{"float": "inf"}`.

    **Arguments:**

    - `loss`: a loss, a transform or a scale: any module that keeps its constructor
        arguments in attributes of the same names.

    **Raises:** `ValueError` for anything that cannot be written: functions,
    `BoundLoss`, parameters that are not constructor arguments. The message names the
    field and a remedy.
    """
    encoder = Encoder(dict(CLASSES))
    entry = encoder.encode(check_module(loss))
    with without_warnings():
        check_remade(loss, encoder.classes, with_values=True)
    return entry


def from_config(
    config: Mapping[str, Any], *, custom: Sequence[type[eqx.Module]] = ()
) -> Any:
    """Return the loss described by a config that `to_config` or a user wrote.

    **Arguments:**

    - `config`: see `to_config`. Missing arguments get their defaults. Any mappings and
        sequences work, e.g. from YAML and JSON readers, OmegaConf and Hydra.
    - `custom`: classes of your own that the config may name.

    **Raises:** `LoadError` with the path to what is wrong, e.g.
    `loss_fn[1].positions`.
    """
    classes = with_custom(custom)
    if not isinstance(config, Mapping) or "class" not in config:
        raise LoadError(
            "A config is a dictionary with the keys 'class', 'arguments'. Read JSON "
            "with `json.loads` first."
        )
    return decode(Decoder(classes), config)


def decode(decoder: Decoder, entry: Any) -> Any:
    """Make the object. Nesting that is too deep raises `LoadError` too."""
    try:
        return decoder.decode(entry)
    except RecursionError as error:
        raise LoadError("The config is nested too deeply.") from error


def check_module(loss: Any) -> eqx.Module:
    if not isinstance(loss, eqx.Module):
        raise ValueError(
            f"Only an `eqx.Module` can be saved. Got {loss!r:.80}. The path comes "
            "first: `save(path, loss)`."
        )
    return loss


def check_remade(
    module: eqx.Module, classes: dict[str, Any], *, with_values: bool, where: str = ""
) -> None:
    """Check that the constructor arguments make the same object again.

    **Raises:** `ValueError` that names the innermost module that differs.
    """
    leaves = jax_leaves(module)
    encoder = Encoder(classes, None if with_values else numbers(leaves))
    reason = "Its constructor makes another object from them"
    try:
        remade = Decoder(classes, leaves).decode(encoder.encode(module, where), where)
    except LoadError as error:
        reason = str(error).rstrip(".")
    else:
        if not with_values:
            try:
                remade = with_leaves(remade, leaves)
            except LoadError as error:
                remade, reason = None, str(error).rstrip(".")
        if _is_same(module, remade):
            return
    for path, child in _children(module, where):
        check_remade(child, classes, with_values=with_values, where=path)
    hint = (
        "Parameters that are not constructor arguments can only be kept by `save`."
        if with_values
        else "Each argument must be stored unchanged in an attribute of the same name."
    )
    if any(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(module)):
        hint = (
            "It has NumPy arrays as leaves: if they were JAX arrays, convert them "
            "back, `jax.tree.map(jax.numpy.asarray, loss)`."
        )
    raise ValueError(
        f"Cannot save this: {place(where)}, a `{type(module).__name__}`, does not come "
        f"back from its constructor arguments. {reason}. {hint}"
    )


def jax_leaves(tree: Any) -> list[jax.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]


def numbers(leaves: list[jax.Array]) -> dict[int, int]:
    """Return the number of each leaf by its `id`."""
    return {id(leaf): i for i, leaf in enumerate(leaves)}


def with_leaves(module: Any, leaves: list[jax.Array]) -> Any:
    """Return `module` with `leaves`, all arrays of its file.

    Arrays that were passed as arguments stay where constructors put them, since the
    order of a class's fields may have changed after the file was written. Arrays that
    constructors made themselves are replaced by the remaining ones, in order.

    **Raises:** `LoadError` if their number or shapes differ from the module's leaves.
    """
    old, treedef = jax.tree.flatten(module)
    arrays = [leaf for leaf in old if isinstance(leaf, jax.Array)]
    if len(arrays) != len(leaves):
        raise LoadError(f"It has {len(arrays)} arrays, not {len(leaves)}.")
    saved, placed = set(map(id, leaves)), set(map(id, arrays))
    made = [i for i, array in enumerate(arrays) if id(array) not in saved]
    rest = _without_copies([a for a in leaves if id(a) not in placed], arrays, saved)
    if len(made) != len(rest):
        raise LoadError(f"It makes {len(made)} of its arrays itself, not {len(rest)}.")
    for i, array in zip(made, rest, strict=True):
        is_same_kind = eqx.is_inexact_array(arrays[i]) == eqx.is_inexact_array(array)
        if arrays[i].shape != array.shape or not is_same_kind:
            found = f"{arrays[i].dtype}{list(arrays[i].shape)}"
            given = f"{array.dtype}{list(array.shape)}"
            raise LoadError(f"Its array {i} is {found}, not {given}.")
        arrays[i] = array
    new = iter(arrays)
    return jax.tree.unflatten(
        treedef, [next(new) if isinstance(a, jax.Array) else a for a in old]
    )


def _without_copies(
    rest: list[jax.Array], arrays: list[jax.Array], saved: set[int]
) -> list[jax.Array]:
    """Return `rest` without copies of arrays that a module holds in several places.

    The file holds such an array once for each place, and the arguments name one copy.
    """
    rest, seen = list(rest), set()
    for array in arrays:
        if id(array) in seen and id(array) in saved:
            copies = (i for i, copy in enumerate(rest) if _is_same_leaf(array, copy))
            index = next(copies, None)
            if index is not None:
                del rest[index]
        seen.add(id(array))
    return rest


def _children(module: eqx.Module, where: str) -> Iterator[tuple[str, eqx.Module]]:
    for name, value in argument_values(module, where):
        path = join(where, name)
        is_sequence = isinstance(value, list | tuple)
        items = (
            [(f"{path}[{i}]", item) for i, item in enumerate(value)]
            if is_sequence
            else [(path, value)]
        )
        for path, item in items:
            if isinstance(item, eqx.Module) and not is_static(item):
                yield path, item


def _is_same(one: Any, other: Any) -> bool:
    """Whether two trees are equal to the last bit, static parts included."""
    leaves, structure = jax.tree.flatten(one)
    others, other_structure = jax.tree.flatten(other)
    try:
        is_same = bool(structure == other_structure)
    except Exception:
        return False  # a user's static field cannot be compared
    return is_same and all(map(_is_same_leaf, leaves, others))


def _is_same_leaf(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if not isinstance(a, jax.Array | np.ndarray):
        return bool(a == b)
    is_weak = getattr(a, "weak_type", False) == getattr(b, "weak_type", False)
    if a is b or not is_weak or a.dtype != b.dtype or a.shape != b.shape:
        return a is b
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()
