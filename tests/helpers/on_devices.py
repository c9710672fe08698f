"""Running a script of checks in a process of its own, with eight devices."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEVICES = ROOT / "tests" / "devices"


def printed(*command: str) -> Any:
    """Run Python with eight devices; return the last line it prints, which is JSON."""
    helpers = Path(__file__).parent
    paths = [ROOT, ROOT / "tests", helpers, DEVICES, os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        # Unoptimised, which takes a quarter less time: partitioning comes earlier.
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 "
        "--xla_backend_optimization_level=0",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths if path),
    }
    process = subprocess.run(
        [sys.executable, "-W", "error", *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stderr[-5000:]
    return json.loads(process.stdout.splitlines()[-1])


@functools.cache
def outcomes(script: str, *arguments: str) -> dict[str, str | None]:
    """Return what a file of `tests/devices` prints: failures by name, or `None`."""
    return printed(str(DEVICES / script), *arguments)


def checks_of(script: str) -> list[str]:
    """Return the names of the checks of a file of `tests/devices`."""
    return re.findall(r"^def (check_\w+)", (DEVICES / script).read_text(), re.MULTILINE)
