"""Comparing parts with their formula, written again in PyTorch, in float64."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from korvax_eqx import Spectra


class _Torch:
    """PyTorch, imported when used; without it, the test that uses it is skipped."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks some up
            raise AttributeError(name)
        return getattr(pytest.importorskip("torch"), name)


torch: Any = _Torch()

DOUBLE, SINGLE = 1e-10, 1e-5


@contextlib.contextmanager
def refused(message: str) -> Iterator[None]:
    """Expect an error of the package, not of the type checker, which runs first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=message):
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def close(actual: Any, desired: Any, tolerance: float) -> None:
    """Compare arrays, relative to the largest entry."""
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.shape == desired.shape
    error = np.max(np.abs(actual - desired), initial=0.0)
    assert error <= tolerance * np.max(np.abs(desired), initial=0.0), error


def value_and_grads(fn: Callable[..., Any], args: Sequence[np.ndarray], dtype: Any):
    """The value of `fn` and its gradients for all arguments, in one dtype."""
    with jax.enable_x64(True):
        arrays = [jnp.asarray(a, dtype) for a in args]
        return jax.tree.map(np.asarray, _compiled(fn, len(args))(*arrays))


@functools.cache
def _compiled(fn: Callable[..., Any], n_args: int) -> Callable[..., Any]:
    """Cached, as compiling takes most of a test's time."""
    both = jax.value_and_grad(fn, argnums=tuple(range(n_args)))
    return jax.jit(both, compiler_options={"xla_backend_optimization_level": 0})


def assert_equals_torch(
    ours: Callable[..., Any], theirs: Callable[..., Any], *args: np.ndarray
) -> None:
    """Check that `ours` and `theirs` have equal values and gradients in both dtypes."""
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in args]
    expected = theirs(*tensors)
    gradients = torch.autograd.grad(expected, tensors, materialize_grads=True)
    for dtype, tolerance in ((jnp.float64, DOUBLE), (jnp.float32, SINGLE)):
        value, grads = value_and_grads(ours, args, dtype)
        close(value, expected.detach().numpy(), tolerance)
        for ours_, theirs_ in zip(grads, gradients, strict=True):
            close(ours_, theirs_.numpy(), tolerance)


def of_arrays(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of two `Spectra` as a function of arrays and numbers of valid frames.

    As in a loss, invalid frames must be zero in both.
    """

    def call(x: Any, y: Any, n_frames: Any = None) -> Any:
        return method(Spectra(x, n_frames), Spectra(y, n_frames))

    return call


def assert_padding_does_not_count(
    fn: Callable[..., Any], spectra: Sequence[np.ndarray], counts: Sequence[int]
) -> None:
    """Check that `fn(*spectra, n_frames)` gives each row the value of that row alone.

    **Arguments:**

    - `fn`: from spectra of shape `(rows, n_frames, n_bins)` to a number for each row.
    - `spectra`: frames beyond the valid ones are set to zero.
    - `counts`: number of valid frames of each row.
    """

    def total(*args: Any) -> Any:
        values = fn(*args[:-1], args[-1])
        return jnp.sum(values), values

    with jax.enable_x64(True):
        every = tuple(range(len(spectra)))
        gradient = jax.grad(total, argnums=every, has_aux=True)
        padded = [
            jnp.asarray(np.where(_within(S.shape, counts), S, 0)) for S in spectra
        ]
        grads, values = jax.jit(gradient)(*padded, jnp.asarray(counts, jnp.int32))
        for i, n in enumerate(counts):
            alone = [S[i : i + 1, :n] for S in padded]
            own_grads, own = gradient(*alone, None)
            close(values[i : i + 1], own, 1e-12)
            for g, own_g in zip(grads, own_grads, strict=True):
                close(g[i : i + 1, :n], own_g, 1e-12)


def _within(shape: tuple[int, ...], counts: Sequence[int]) -> np.ndarray:
    return np.arange(shape[1])[None, :, None] < np.asarray(counts)[:, None, None]
