"""`examples/train_distributed.py` on two processes, against one."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import korvax_eqx as ke

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parent.parent / "examples" / "train_distributed.py"
STEPS = 4


def start(*arguments: Any) -> subprocess.Popen[str]:
    # Compiled faster; and without a number of devices that may be in the flags.
    flags = "--xla_backend_optimization_level=0"
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen[str]) -> list[str]:
    try:
        results = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:  # one that waits for another that has failed
            process.kill()
    for process, (_, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [output for output, _ in results]


def losses_in(output: str) -> list[float]:
    return [
        float(value) for value in re.findall(r"^step \d+: loss (.*)$", output, re.M)
    ]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    saved = tmp_path / "loss.eqx"
    ke.save(saved, ke.MRSTFTLoss((50, 120), (128, 512), log_eps=1e-2, piece_size=1))
    common = ("--quick", "--loss", saved, "--steps", STEPS)
    address = f"127.0.0.1:{free_port()}"
    first, second = finish(
        *(
            start(
                *common,
                *("--out", tmp_path / f"process {i}", "--cpu-devices", 2),
                *("--coordinator", address, "--num-processes", 2, "--process-id", i),
            )
            for i in range(2)
        )
    )
    assert "4 devices in 2 processes\n" in first
    assert "step" not in second and "devices" not in second
    assert (tmp_path / "process 0" / "checkpoint.eqx").exists()
    assert not (tmp_path / "process 1").exists()

    alone = tmp_path / "alone"
    (output,) = finish(start(*common, "--out", alone, "--cpu-devices", 1))
    assert "1 devices in 1 processes\n" in output
    expected = losses_in(output)
    assert len(set(expected)) == STEPS
    assert losses_in(first) == pytest.approx(expected, rel=1e-5)


def test_a_batch_that_the_devices_do_not_divide_is_refused(tmp_path: Path) -> None:
    process = start("--quick", "--cpu-devices", 3, "--out", tmp_path)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "batch of 4 examples cannot be cut over 3 devices" in errors
