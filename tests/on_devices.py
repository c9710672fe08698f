"""Running a script of checks in a process of its own, with eight devices."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


@functools.cache
def outcomes(script: str) -> dict[str, str | None]:
    """Return what a file of `tests/devices` prints: failures by name, or `None`."""
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        # Unoptimised: a quarter less time, and partitioning comes before that.
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 "
        "--xla_backend_optimization_level=0",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    process = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests" / "devices" / script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stderr[-5000:]
    return json.loads(process.stdout.splitlines()[-1])
