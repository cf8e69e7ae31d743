"""One contestant in a process of its own: a JSON command a line in, an answer a line out.

Started as ``python -m benchmarks.worker CONTESTANT THREADS``. What the frameworks print goes to
standard error.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARM_STEPS = 2  # untimed, before every block: sleeping threads and cold caches
OPERATIONS = 100  # in the chain: 33 × (multiply, add, tanh) and one sum


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes.

    Linux's ``ru_maxrss`` starts from the parent's size at the fork; ``VmHWM`` does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Contestant:
    """A module of ``benchmarks.peers`` and the workloads it has built."""

    def __init__(self, name: str) -> None:
        self.module = importlib.import_module(f"benchmarks.peers.{name}")
        self.steps: dict[str, Callable[[], Any]] = {}

    def check(self, workload: str) -> dict[str, Any]:
        """Build the workload; its losses before any step and after one, two and three."""
        from benchmarks.workloads import data

        self.steps[workload] = self.module.WORKLOADS[workload](*data(workload))
        return {"losses": [float(self.steps[workload]()) for _ in range(4)]}

    def run(self, workload: str, steps: int) -> dict[str, Any]:
        """Seconds a step, over a block of steps, and the last loss."""
        step = self.steps[workload]
        for _ in range(WARM_STEPS):
            loss = step()
        float(loss)  # waits for frameworks that run ahead
        start = time.perf_counter()
        for _ in range(steps):
            loss = step()
        last = float(loss)
        return {"seconds": (time.perf_counter() - start) / steps, "loss": last}

    def chain(self, repeats: int) -> dict[str, Any]:
        """Seconds an operation in the chain on eight elements, one number a repeat."""
        import numpy as np

        x, w, b = np.random.default_rng(0).standard_normal((3, 8), dtype=np.float32)
        run = self.module.chain(x, w, b, OPERATIONS // 3)
        seconds = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            for _ in range(50):
                run()
            seconds.append((time.perf_counter() - start) / (50 * OPERATIONS))
        return {"seconds": seconds[1:]}

    def memory(self) -> dict[str, Any]:
        return {"bytes": peak_memory()}


def main() -> None:
    """Answer commands until the input ends."""
    name, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    contestant = Contestant(name)
    print(json.dumps({"workloads": list(contestant.module.WORKLOADS)}), file=answers)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(contestant, command.pop("do"))(**command)
        except Exception as error:  # goes to the parent, which names the contestant
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
