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


# Laws and comparisons of many cases each, which take most of the time. By default every
# test of these files runs for a third of its cases, others for another third, so that
# each class meets laws and each law classes; `KORVAX_EQX_ALL=1` runs them all.
_THINNED = {
    "test_laws.py",
    "test_laws_protocol.py",
    "test_recipes_laws.py",
    "test_finite.py",
    "test_reference_losses.py",
    "test_reference_transforms.py",
    "test_transport_loss.py",
    "test_pickled.py",
}


def _is_of_rows(item):
    """Recipes that compare whole batches are few, and meet all of their laws."""
    from registry import RECIPES  # not before types are checked on demand

    return item.callspec.params.get("case") in RECIPES


def _is_left_out(item, count):
    is_quick = "quick" in {mark.name for mark in item.own_markers}
    if item.path.name not in _THINNED or is_quick or not hasattr(item, "callspec"):
        return False
    if item.path.name == "test_recipes_laws.py" and not _is_of_rows(item):
        return False
    count[item.path] = count.get(item.path, 0) + 1
    return count[item.path] % 3 != 0


def pytest_collection_modifyitems(config, items):
    for item in items:
        name = item.path.name
        is_law = name in _QUICK_LAWS and item.name.endswith(_QUICK_CASES)
        if is_law or name in _QUICK_FILES:
            item.add_marker("quick")
    if os.environ.get("KORVAX_EQX_ALL") == "1":
        return
    count = {}
    left_out = [item for item in items if _is_left_out(item, count)]
    if len(items) - len(left_out) > 1:  # not where a single test was asked for
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Compiled programs of a file are not kept for the next: gigabytes otherwise."""
    yield
    jax.clear_caches()
