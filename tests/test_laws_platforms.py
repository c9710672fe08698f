"""Every loss, in its programs for GPU and TPU, which are run on CPU here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import BATCHES, COMPOSITES, LEVELS, N_SAMPLES

from korvax_eqx import _platform

# Of a transform, a matrix product, a phase and several terms; the others in CI.
_ALWAYS = {
    "MRSTFTLoss",
    "PitchTransportLoss",
    "SumLoss",
    "TimeFrequencyLoss-MFCC",
    "TimeFrequencyLoss-PhaseLoss-raw",
}
# All but one, which takes minutes to compile and differs in its sizes alone.
LOSSES = [
    pytest.param(case, marks=() if case.name in _ALWAYS else pytest.mark.long)
    for case in [*COMPOSITES, *LEVELS, *BATCHES]
    if case.name != "SmoothMRSTFTLoss"
]


@pytest.mark.parametrize("case", LOSSES, ids=repr)
def test_programs_for_other_platforms(case, monkeypatch):
    """The numbers of the program for CPU, padded too, and at equal signals."""
    x, y = case.signals(3, dtype=jnp.float32)
    lengths = np.asarray([N_SAMPLES, 0, 1033], "int32")
    if case.n_channels is not None:
        lengths = lengths[:, None]

    def results():
        # Another function each time, so that it is lowered again.
        @jax.jit
        def all_of(x, y):
            loss, keywords = case.make(), case.keywords

            def padded(x, y):
                return loss(x, y, lengths=lengths, **keywords)

            def whole(x, y):
                return loss(x, y, **keywords)

            both = (0, 1)
            return (
                jax.value_and_grad(whole, both)(x, y),
                jax.value_and_grad(padded, both)(x, y),
            )

        x64, y64 = (s.astype(jnp.float64) for s in (x, y))
        return *all_of(x64, y64), *all_of(x64, x64)

    with jax.enable_x64(True):
        expected = results()
        for platform in ("gpu", "tpu"):
            settings = _platform.PLATFORMS[platform]
            monkeypatch.setitem(_platform.PLATFORMS, "cpu", settings)
            compare(results(), expected, platform)


def compare(actual, expected, platform):
    """By the largest entry, at equal signals too."""
    sizes = [np.max(np.abs(g)) for g in jax.tree.leaves(expected[0])]
    for a, b in zip(actual, expected, strict=True):
        pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), sizes, strict=True)
        for one, other, size in pairs:
            assert np.all(np.isfinite(one)), platform
            np.testing.assert_allclose(
                one, other, rtol=0, atol=1e-8 * size, err_msg=platform
            )
