"""Losses and transforms on eight devices, by the scripts in `devices`."""

import re

import pytest
from on_devices import ROOT, outcomes

SCRIPT = ROOT / "tests" / "devices" / "losses.py"
CHECKS = re.findall(r"^def (check_\w+)", SCRIPT.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", CHECKS)
def test_eight_devices(name: str) -> None:
    failure = outcomes("losses.py")[name]
    assert failure is None, failure


def test_composed_losses_on_eight_devices() -> None:
    """One test, as every process that runs one of several would run the script."""
    found = outcomes("composed.py")
    assert len(found) == 20
    failures = [f"{name}: {failure}" for name, failure in found.items() if failure]
    assert not failures, "\n".join(failures)
