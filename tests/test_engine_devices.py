"""Rows on one device, and on eight: `devices/checks.py` in processes of its own."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from devices import checks
from on_devices import checks_of, outcomes

from korvax_eqx._numerics._fft import rfft

# The partitioner before Shardy can still be switched on, and crashes by itself on
# explicit axes: the checks that do without those and stand for the others.
GSPMD_CHECKS = [
    "check_batches_that_the_devices_do_not_divide",
    "check_vmap_with_spmd_axis_name",
]

on_one_device = pytest.mark.skipif(jax.device_count() > 1, reason="needs one device")


@pytest.mark.long
@pytest.mark.parametrize("name", checks_of("checks.py"))
def test_eight_devices(name: str) -> None:
    failure = outcomes("checks.py", "shardy")[name]
    assert failure is None, failure


@pytest.mark.long
@pytest.mark.parametrize("name", GSPMD_CHECKS)
def test_eight_devices_partitioned_by_gspmd(name: str) -> None:
    failure = outcomes("checks.py", "gspmd", *GSPMD_CHECKS)[name]
    assert failure is None, failure


@pytest.fixture
def x64() -> Any:
    with jax.enable_x64(True):
        yield


@on_one_device
def test_one_device_is_a_plain_call(x64: Any) -> None:
    """In a jaxpr it is one operation; compiled it is what it computes, and no more."""
    args = checks.WINDOW, checks.X[:2, 0], checks.Y[:2, 0]
    (operation,) = jax.make_jaxpr(checks.mapped)(*args).eqns
    assert operation.params["placed"] is None

    def program(fn: Any) -> str:
        text = checks.compiled(fn, *args).as_text()
        return re.sub(r", metadata=\{.*?\}|HloModule jit_\w+|\.\d+", "", text)

    def plain(*args: Any) -> Any:
        return checks.plain(*args)

    operations = [
        sorted(re.findall(r" (\w[\w-]*)\(", program(fn)))
        for fn in (checks.mapped, plain)
    ]
    assert operations[0] == operations[1]


ROWS, TARGET, WINDOW, EVERY = (1, 2), (2,), (0,), (0, 1, 2)


@pytest.mark.long
@on_one_device
@pytest.mark.parametrize("with_sums", [True, False])
@pytest.mark.parametrize(
    "mapped_at",
    [
        (ROWS,),
        (TARGET,),
        (WINDOW,),
        (EVERY,),
        (ROWS, TARGET),
        (TARGET, ROWS),
        (ROWS, WINDOW),
        (WINDOW, ROWS),
        (WINDOW, TARGET, ROWS),
    ],
    ids=str,
)
def test_vmap_is_one_example_after_another(
    x64: Any, mapped_at: Any, with_sums: bool
) -> None:
    """Values and gradients, of one and several levels."""

    def outcomes_of(fn: Any) -> Any:
        fn = functools.partial(fn, with_sums=with_sums)
        gradient = jax.grad(checks.of_mapped(fn), (0, 1, 2))
        return lambda *args: (fn(*args), gradient(*args))

    ours, reference = outcomes_of(checks.mapped), jax.jit(outcomes_of(checks.plain))
    args = [checks.WINDOW, checks.X[:2, :3], checks.Y[:2, :3]]
    for level in reversed(range(len(mapped_at))):
        size = 4 - level
        for which in mapped_at[level]:
            args[which] = np.stack([args[which] * (1 + i / 8) for i in range(size)])
        axes = tuple(0 if which in mapped_at[level] else None for which in range(3))
        ours = jax.vmap(ours, in_axes=axes)
        reference = jax.vmap(reference, in_axes=axes)
    checks.agree(jax.jit(ours)(*args), reference(*args), 1e-10)


@on_one_device
@pytest.mark.parametrize("with_sums", [True, False])
def test_derivatives_are_those_of_the_formula(x64: Any, with_sums: bool) -> None:
    """Of first and second order, and one by one, compiled and not."""
    x, y, v = (a[:3, :2] for a in (checks.X, checks.Y, checks.V))
    args = checks.WINDOW, x, y
    tangents = np.cos(checks.WINDOW), v, v[::-1]

    def outcomes_of(fn: Any) -> Any:
        number = checks.of_mapped(functools.partial(fn, with_sums=with_sums))
        return functools.partial(checks.second_order, number, tangents)

    expected = jax.jit(outcomes_of(checks.plain))(*args)
    checks.agree(jax.jit(outcomes_of(checks.mapped))(*args), expected, 1e-10)
    checks.agree(outcomes_of(checks.mapped)(*args), expected, 1e-10)


@on_one_device
def test_every_order_of_vmap_and_derivatives(x64: Any) -> None:
    """Jacobians and Hessians: of `jax.vmap` of a derivative of a derivative."""

    def outcomes_of(fn: Any) -> Any:
        number = checks.of_mapped(fn)

        def short(window: Any, start: Any) -> Any:
            """Of the first samples alone, so that there are few derivatives."""
            x = jnp.asarray(checks.X[:2, 0]).at[:, :3].set(start)
            return number(window, x, checks.Y[:2, 0])

        args = checks.WINDOW, checks.V[:2, 0, :3]
        return {
            "hessian": jax.hessian(short, 1)(*args),
            "reverse": jax.jacrev(jax.grad(short, 1), 1)(*args),
            "forward": jax.jacfwd(jax.jacfwd(short, 1), 1)(*args),
            "mixed": jax.jacrev(jax.grad(short, 1), 0)(*args),
            "third": jax.jacfwd(jax.hessian(short, 1), 1)(*args),
        }

    expected = jax.jit(functools.partial(outcomes_of, checks.plain))()
    checks.agree(
        jax.jit(functools.partial(outcomes_of, checks.mapped))(), expected, 1e-9
    )


def test_frames_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="frames of 8 samples"):
        rfft(jnp.ones((3, 7)), 8)
