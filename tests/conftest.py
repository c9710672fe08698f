"""Settings for all tests: strict dtypes and, on demand, checked types."""

import os

# Plots are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_dtype_promotion", "strict")

# Annotated shapes and types are checked at every call of the package. On demand, as
# wrong arguments would then be refused by the checker and not by the package.
if os.environ.get("KORVAX_EQX_TYPECHECK") == "1":
    install_import_hook("korvax_eqx", "typechecker.check")

# The loop of a minute: `pytest -m quick`. What breaks most often, for few losses.
_QUICK_FILES = {
    "test_layout.py",
    "test_tables.py",
    "test_numerics_fft.py",
    "test_scales_log.py",
    "test_saving_refused.py",
}
_QUICK_LAWS = {"test_laws.py", "test_laws_protocol.py", "test_finite.py"}
_QUICK_CASES = ("[MRSTFTLoss]", "[SumLoss]", "[Log]", "[ElementwiseLoss-L1]")


# Tests of many cases, which take most of the time. By default one case in eight of each
# test of these files runs, and at least one; the first differs from test to test, so
# that each class meets laws and each law classes. `KORVAX_EQX_SLICE=1` to `7` are the
# others, `KORVAX_EQX_ALL=1` is all of them, as is asking for a test by its name.
_SHARE = 8
_THINNED = {
    "test_composites.py",
    "test_finite.py",
    "test_laws.py",
    "test_laws_protocol.py",
    "test_long_signals.py",
    "test_maps.py",
    "test_numerics_fft.py",
    "test_numerics_vqt.py",
    "test_numerics_waveform.py",
    "test_pickled.py",
    "test_recipes_formulas.py",
    "test_recipes_laws.py",
    "test_reference_losses.py",
    "test_reference_transforms.py",
    "test_scales.py",
    "test_sharding.py",
    "test_transform_pieces.py",
    "test_transport_exact.py",
    "test_transport_loss.py",
}


def _left_out(items, start):
    """The cases of thinned tests that are not of the slice."""
    tests = {}
    for item in items:
        is_quick = "quick" in {mark.name for mark in item.own_markers}
        if item.path.name in _THINNED and hasattr(item, "callspec") and not is_quick:
            tests.setdefault((item.path, item.originalname), []).append(item)
    left_out = set()
    for cases in tests.values():
        chosen = {start % _SHARE + i for i in range(0, len(cases), _SHARE)}
        chosen = {i for i in chosen if i < len(cases)} or {start % len(cases)}
        left_out |= {item for i, item in enumerate(cases) if i not in chosen}
        start += 1 + len(cases)
    return left_out


def _asks_for_tests(config):
    return bool(config.option.keyword) or any("::" in a for a in config.args)


def pytest_collection_modifyitems(config, items):
    for item in items:
        name = item.path.name
        is_law = name in _QUICK_LAWS and item.name.endswith(_QUICK_CASES)
        if is_law or name in _QUICK_FILES:
            item.add_marker("quick")
    if os.environ.get("KORVAX_EQX_ALL") == "1" or _asks_for_tests(config):
        return
    left_out = _left_out(items, int(os.environ.get("KORVAX_EQX_SLICE", "0")))
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs of a file are not kept for the next: gigabytes otherwise."""
    yield
    jax.clear_caches()
