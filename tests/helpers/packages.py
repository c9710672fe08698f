"""Packages of PyTorch that recipes are compared with, and their values and gradients.

Several of them import torchaudio, which is not built for every version of PyTorch. They
only need its Python functions, so its compiled part is replaced by a stub. If it is not
installed at all, an empty module replaces it.
"""

import functools
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import relative_error

# Largest relative difference of values in float32 in these comparisons.
SINGLE = 1e-6


@functools.cache
def with_torchaudio() -> None:
    """Make torchaudio importable, even if it is broken or missing."""
    if "torchaudio" in sys.modules:
        return
    extension = types.ModuleType("torchaudio._extension")
    extension.__file__ = __file__
    # Decorators that check for the compiled part, and flags for it, which are false.
    extension.__getattr__ = lambda name: (  # pyright: ignore[reportAttributeAccessIssue]
        (lambda fn: fn) if name.startswith("fail_if") else False
    )
    sys.modules["torchaudio._extension"] = extension
    try:
        importlib.import_module("torchaudio")
    except ImportError:
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")


def package(name: str) -> Any:
    """Return a module of a package; skip the test without it."""
    pytest.importorskip("torch")
    with_torchaudio()
    return pytest.importorskip(name, exc_type=ImportError)


def asteroid(name: str) -> Any:
    """A module of asteroid's losses: alone, as asteroid itself imports all it has."""
    pytest.importorskip("torch")
    found = importlib.util.find_spec("asteroid")
    if found is None or found.origin is None:
        pytest.skip("asteroid is not installed")
    path = Path(found.origin).parent / "losses" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"asteroid_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def torch_value_and_grad(
    loss: Callable[..., Any], x: Any, y: Any, dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the value of a PyTorch loss, and its gradient with respect to `x`."""
    torch = pytest.importorskip("torch")
    kind = getattr(torch, dtype)
    x = torch.tensor(np.asarray(x), dtype=kind, requires_grad=True)
    value = loss(x, torch.tensor(np.asarray(y), dtype=kind))
    (gradient,) = torch.autograd.grad(value, x)
    return value.detach().numpy(), gradient.numpy()


def assert_agrees(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    x: np.ndarray,
    y: np.ndarray,
    double: float = 1e-9,
    single: float = SINGLE,
    gradient: float | None = None,
) -> None:
    """Compare value and gradient with those of a PyTorch loss.

    Theirs is computed in float64, so that its rounding does not count. Ours is computed
    in float64, and the value also in float32. Differences of gradients are relative to
    the largest entry.
    """
    value, slope = torch_value_and_grad(theirs, x, y)
    fn = jax.jit(jax.value_and_grad(ours))
    with jax.enable_x64(True):
        own = fn(jnp.asarray(x), jnp.asarray(y))
        own = jax.tree.map(np.asarray, own)
    assert relative_error(own[0], value) <= double, relative_error(own[0], value)
    limit = double if gradient is None else gradient
    assert relative_error(own[1], slope) <= limit, relative_error(own[1], slope)
    own = fn(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    assert relative_error(own[0], value) <= single, relative_error(own[0], value)
