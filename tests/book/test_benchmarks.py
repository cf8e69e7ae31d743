"""The benchmark: contestants compute the same, and wrong arguments get a sentence. No timing."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.workloads import DESCRIPTIONS, data
from tools.twins import ROOT


@pytest.mark.parametrize("workload", DESCRIPTIONS)
@pytest.mark.parametrize("peer", ["numpy_engine"])
def test_contestants_compute_what_torch_computes(peer: str, workload: str) -> None:
    pytest.importorskip("torch")
    losses = []
    for name in (peer, "torch_eager"):
        module = importlib.import_module(f"benchmarks.peers.{name}")
        step = module.WORKLOADS[workload](*data(workload))
        losses.append([float(step()) for _ in range(4)])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert losses[0][3] < losses[0][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threads", "0"], "--threads 0: this machine has 1 to"),
        (["--workloads", "gan"], "invalid choice: 'gan'"),
        (["--environment", "SPEED"], "--environment SPEED: must be NAME=VALUE"),
        (["--json", "."], "--json .: is a folder"),
    ],
)
def test_wrong_arguments_get_a_sentence(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "benchmarks.engine", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr
