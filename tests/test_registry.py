"""The registry holds every option: a value that is never made is never run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import ALL, OPTIONS

from korvax_eqx import _checks as checks


@dataclasses.dataclass(frozen=True)
class Options:
    """What the checked arguments of each class may be, and what they are."""

    allowed: dict[tuple[str, str], list[object]] = dataclasses.field(
        default_factory=dict
    )
    met: dict[tuple[str, str], list[object]] = dataclasses.field(default_factory=dict)

    def add(self, owner, argument, allowed, value):
        at = owner, argument
        known = self.allowed.setdefault(at, [])
        known += [option for option in allowed if option not in known]
        self.met.setdefault(at, []).append(value)


@pytest.fixture
def options(monkeypatch):
    """The options of all objects that are made."""
    found = Options()
    one_of, boolean = checks.one_of, checks.boolean

    def recording_one_of(owner, argument, value, allowed):
        found.add(owner, argument, allowed, value)
        return one_of(owner, argument, value, allowed)

    def recording_boolean(owner, argument, value):
        found.add(owner, argument, (True, False), value)
        return boolean(owner, argument, value)

    monkeypatch.setattr(checks, "one_of", recording_one_of)
    monkeypatch.setattr(checks, "boolean", recording_boolean)
    return found


def test_every_option_is_in_the_registry(options):
    for case in [*ALL, *OPTIONS]:
        case.make()
    missing = [
        (*at, option)
        for at, allowed in options.allowed.items()
        for option in allowed
        if option not in options.met[at]
    ]
    assert not missing, missing


@pytest.mark.parametrize("case", OPTIONS, ids=repr)
def test_a_loss_with_the_option(case):
    """Value and gradient of a batch, and of one that is padded, in float64."""
    with jax.enable_x64(True):
        x, y = case.signals(2, dtype=jnp.float64)
        loss = case.make()
        both = jax.jit(jax.value_and_grad(loss))
        value, gradient = both(x, y)
        assert np.isfinite(value) and np.all(np.isfinite(gradient))
        assert np.any(gradient)
        step = 1e-8 * np.random.default_rng(0).standard_normal(x.shape)
        change = float(both(x + step, y)[0] - both(x - step, y)[0])
        expected = 2 * np.sum(np.asarray(gradient) * step)
        if case.name != "L1SNRLoss-level":  # whose weight has no gradient
            np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-13)
        if case.name == "BatchRelativeLoss-L1":
            return
        each = [both(x[i : i + 1], y[i : i + 1]) for i in range(2)]
        np.testing.assert_allclose(value, np.mean([v for v, _ in each]), rtol=1e-12)
        if case.name == "padding-statistics":
            return
        lengths = np.array([1500, 1033]).reshape(2, *[1] * (x.ndim - 2))
        padded = jax.jit(loss)(x, y, lengths=lengths)
        cut = both(x[1:, ..., :1033], y[1:, ..., :1033])[0]
        np.testing.assert_allclose(padded, (each[0][0] + cut) / 2, rtol=1e-12)
