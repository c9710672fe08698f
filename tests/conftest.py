"""Settings for all tests: strict dtypes and, on demand, checked types."""

import os
import zlib

# Plots are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import numpy as np
import pytest
import skips
import slices
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_dtype_promotion", "strict")

# Annotated shapes and types are checked at every call of the package. On demand, as
# wrong arguments would then be refused by the checker and not by the package.
if os.environ.get("KORVAX_EQX_TYPECHECK") == "1":
    install_import_hook("korvax_eqx", "typechecker.check")

# The short loop: `pytest -m quick`. What breaks most often, for few losses.
_QUICK_FILES = {
    "test_layout.py",
    "test_numerics_fft.py",
    "test_scales_log.py",
    "test_saving_refused.py",
}
_QUICK_LAWS = {
    "test_laws.py": ("[MRSTFTLoss]", "[Log]", "[ElementwiseLoss-L1]"),
    "test_laws_protocol.py": ("[MRSTFTLoss]", "[SumLoss]"),
    "test_finite.py": ("[MRSTFTLoss]",),
}

# Of the two losses that most others are made of no law is left out.
_ALWAYS = {"test_laws.py": ("[MRSTFTLoss]", "[SumLoss]")}

# Tests of many cases, which take most of the time. By default some of the cases of
# each test of these files run (see `slices`), at most `KORVAX_EQX_MOST` of them; all of
# a test marked `cheap`. The first differs from test to test, so that each class meets
# laws and each law classes; `KORVAX_EQX_SLICE=1` and so on runs others.
# `KORVAX_EQX_ALL=1` runs all, as does asking for a test by its name. Tests marked
# `long` train networks, compile for several devices, or compare every recipe: they run
# with `-m long`, with `KORVAX_EQX_ALL=1`, and if their file is named.
_THINNED = {
    "test_composites.py",
    "test_finite.py",
    "test_framing.py",
    "test_laws.py",
    "test_laws_leaves.py",
    "test_laws_protocol.py",
    "test_laws_rounding.py",
    "test_lengths.py",
    "test_long_signals.py",
    "test_losses_cumulative_energy.py",
    "test_losses_norms.py",
    "test_losses_phase.py",
    "test_maps.py",
    "test_mixture_invariant.py",
    "test_numerics_fft.py",
    "test_numerics_sums.py",
    "test_numerics_transport.py",
    "test_numerics_vqt.py",
    "test_numerics_waveform.py",
    "test_operators.py",
    "test_pairs.py",
    "test_permutation_invariant.py",
    "test_pickled.py",
    "test_recipes_energy.py",
    "test_recipes_formulas.py",
    "test_recipes_laws.py",
    "test_recipes_separation.py",
    "test_recipes_smooth.py",
    "test_recipes_sot.py",
    "test_registry.py",
    "test_reference_losses.py",
    "test_reference_transforms.py",
    "test_scales.py",
    "test_scope.py",
    "test_tables_extreme.py",
    "test_terms.py",
    "test_transform_pieces.py",
    "test_transforms_mel.py",
    "test_transport_exact.py",
    "test_transport_loss.py",
}

# What is looked at here is more than the last digits. Compiled without LLVM's
# optimisations these files take three quarters of the time, and so does the short loop.
_UNOPTIMISED = {
    "test_bad_input.py",
    "test_balancer.py",
    "test_chroma.py",
    "test_cli.py",
    "test_cli_folders.py",
    "test_cli_recipes.py",
    "test_composites.py",
    "test_engine_devices.py",
    "test_eps_modes.py",
    "test_filter_banks.py",
    "test_framing.py",
    "test_inverse_stft.py",
    "test_korvax_examples.py",
    "test_laws_leaves.py",
    "test_laws_platforms.py",
    "test_laws_protocol.py",
    "test_lengths.py",
    "test_long_signals.py",
    "test_losses_cumulative_energy.py",
    "test_losses_phase.py",
    "test_loudness_ratio.py",
    "test_maps.py",
    "test_mixture_invariant.py",
    "test_normalized_sum.py",
    "test_numerics_transport.py",
    "test_numerics_vqt.py",
    "test_operators.py",
    "test_pairs.py",
    "test_patterns.py",
    "test_permutation_invariant.py",
    "test_pmsqe.py",
    "test_predictions.py",
    "test_ratio_limits.py",
    "test_recipes_energy.py",
    "test_recipes_formulas.py",
    "test_recipes_laws.py",
    "test_recipes_separation.py",
    "test_recipes_smooth.py",
    "test_recipes_sot.py",
    "test_recipes_speech.py",
    "test_reference_losses.py",
    "test_saving_files.py",
    "test_scales.py",
    "test_stoi.py",
    "test_terms.py",
    "test_training.py",
    "test_transform_pieces.py",
    "test_transforms_mel.py",
    "test_transport_exact.py",
    "test_transport_loss.py",
}


def _left_out(items, start):
    """The cases of thinned tests that are not of the slice."""
    tests = {}
    for item in items:
        is_thinned = item.path.name in _THINNED and hasattr(item, "callspec")
        if is_thinned and not item.get_closest_marker("cheap"):
            tests.setdefault((item.path, item.originalname), []).append(item)
    left_out = set()
    for cases in tests.values():
        chosen = slices.of(len(cases), start, slices.MOST)
        left_out |= {item for i, item in enumerate(cases) if i not in chosen}
        start += 1 + len(cases)
    return left_out


def _is_of(item, cases):
    return item.name.endswith(cases.get(item.path.name, ()))


def _needs_peers(item):
    return item.originalname in skips.PEERS.get(item.path.name, ())


def _asks_for_tests(config):
    return bool(config.option.keyword) or any("::" in a for a in config.args)


def _names_files(config):
    return any(argument.endswith(".py") for argument in config.args)


def pytest_collection_modifyitems(config, items):
    for item in items:
        if _is_of(item, _QUICK_LAWS) or item.path.name in _QUICK_FILES:
            item.add_marker("quick")
    if slices.RUNS_ALL or _asks_for_tests(config):
        return
    is_quick = config.option.markexpr == "quick"
    kept = _QUICK_LAWS if is_quick else _ALWAYS
    long = {item for item in items if item.get_closest_marker("long")}
    left_out = _left_out([item for item in items if item not in long], slices.SLICE)
    left_out = {item for item in left_out if not _is_of(item, kept)}
    if config.option.markexpr != "long" and not _names_files(config):
        left_out |= long
    if skips.HAS_PEERS:
        left_out |= {item for item in items if not _needs_peers(item)}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


def _refused(report, name):
    """The report of a skip, as a failure."""
    report.outcome = "failed"
    *_, reason = report.longrepr
    report.longrepr = f"{name} is not listed in `skips`. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    own = item.path.name, item.originalname, item.name
    if report.skipped and not skips.is_expected(*own):
        return _refused(report, item.name)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Whole files are not skipped: what needs nothing that is missing runs."""
    report = yield
    return _refused(report, collector.name) if report.skipped else report


# The laws also run as a user does who forbids JAX to add axes of its own accord.
_STRICT_RANKS = {
    "test_laws.py",
    "test_laws_protocol.py",
    "test_numerics_transport.py",
    "test_registry.py",
    "test_scope.py",
    "test_tables_extreme.py",
}


@pytest.fixture(autouse=True)
def strict_ranks(request):
    is_strict = request.path.name in _STRICT_RANKS
    with jax.numpy_rank_promotion("raise" if is_strict else "allow"):
        yield


@pytest.fixture(autouse=True)
def own_numbers(request):
    """A module's `RNG` begins anew for each test: which others run changes nothing."""
    if hasattr(request.module, "RNG"):
        seed = zlib.crc32(request.node.name.encode())
        request.module.RNG = np.random.default_rng(seed)


@pytest.fixture(autouse=True, scope="module")
def forget_programs(request):
    """Compiled programs of a file are not kept for the next: gigabytes otherwise."""
    is_quick = request.config.option.markexpr == "quick"
    is_unoptimised = is_quick or request.path.name in _UNOPTIMISED
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    jax.config.update(option, before or (is_unoptimised and not slices.RUNS_ALL))
    yield
    jax.config.update(option, before)
    jax.clear_caches()
