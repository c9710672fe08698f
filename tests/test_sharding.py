"""Losses and transforms on eight devices, by the scripts in `devices`."""

import pytest
import slices
from on_devices import checks_of, outcomes

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", checks_of("losses.py"))
def test_eight_devices(name: str) -> None:
    failure = outcomes("losses.py")[name]
    assert failure is None, failure


def test_composed_losses_on_eight_devices() -> None:
    """One test, as every process that runs one of several would run the script."""
    step = 1 if slices.RUNS_ALL else 5
    found = outcomes("composed.py", str(step), str(slices.SLICE))
    assert len(found) == len(range(slices.SLICE % step, 32, step))
    failures = [f"{name}: {failure}" for name, failure in found.items() if failure]
    assert not failures, "\n".join(failures)


def test_explicit_axes_in_every_layout() -> None:
    """All pairs of a class and a layout take long: some of them."""
    step = 12 if slices.RUNS_ALL else 173
    found = outcomes("layouts.py", str(step), str(slices.SLICE))
    failures = [f"{name}: {failure}" for name, failure in found.items() if failure]
    assert found and not failures, "\n".join(failures)
