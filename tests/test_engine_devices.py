"""Rows on one device, and on eight: `devices/checks.py` in processes of its own."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from korvax_eqx._sharding._devices import keep_sharded, map_rows
from on_devices import checks_of, outcomes

from korvax_eqx._numerics._fft import rfft

# The partitioner before Shardy can still be switched on, and crashes by itself on
# explicit axes: the checks that do without those and stand for the others.
GSPMD_CHECKS = [
    "check_batches_that_the_devices_do_not_divide",
    "check_vmap_with_spmd_axis_name",
]

on_one_device = pytest.mark.skipif(jax.device_count() > 1, reason="needs one device")


@pytest.mark.parametrize("name", checks_of("checks.py"))
def test_eight_devices(name: str) -> None:
    failure = outcomes("checks.py", "shardy")[name]
    assert failure is None, failure


@pytest.mark.parametrize("name", GSPMD_CHECKS)
def test_eight_devices_partitioned_by_gspmd(name: str) -> None:
    failure = outcomes("checks.py", "gspmd", *GSPMD_CHECKS)[name]
    assert failure is None, failure


def _double(shared: Any, rows: Any) -> Any:
    return (rows[0] * 2 + shared[0],), (rows[0].sum(0),)


@on_one_device
def test_one_device_is_a_plain_call() -> None:
    x, shift = jnp.ones((3, 8)), jnp.ones(8)

    def mapped(x: Any, shift: Any) -> Any:
        sizes = {"n_row_outputs": 1, "n_summed_outputs": 1}
        return map_rows(_double, (shift,), (x,), **sizes)

    def plain(x: Any, shift: Any) -> Any:
        return _double((shift,), (x,))

    assert str(jax.make_jaxpr(mapped)(x, shift)) == str(jax.make_jaxpr(plain)(x, shift))


@on_one_device
def test_one_device_has_the_plain_fft() -> None:
    x = jnp.ones((3, 8))
    plain = jax.make_jaxpr(lambda x: jnp.fft.rfft(x))(x)
    kept = jax.make_jaxpr(lambda x: keep_sharded(jnp.fft.rfft, x))(x)
    assert str(kept) == str(plain)


def test_frames_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="frames of 8 samples"):
        rfft(jnp.ones((3, 7)), 8)
