"""The NumPy engine against its peers: time a training step, memory, imports, time an operation.

    python -m benchmarks.engine [--quick] [--workloads mlp cnn] [--peers engine jax] [--threads 1]
                                [--environment OPENBLAS_CORETYPE=Haswell]

Every contestant runs in processes of its own with the same environment, held to as many
processors as it may have threads. PyTorch and the contestant take turns, a block of steps each;
the ratio of two adjacent blocks is one measurement, so that what else the machine does touches
both; where other programs took processors that the threads needed, nothing is judged. A contestant
whose losses are not PyTorch's is not timed.

With more than one thread a pause lies between blocks, in which the threads of the one before go to
sleep. Telling them not to wait busily (``OMP_WAIT_POLICY=passive``) would do without it, but slows
PyTorch down, threefold on the LSTM. OpenBLAS's threads wait busily for a tenth of a second; here
for a quarter of that, still far longer than they are idle within a step.
"""

import argparse
import contextlib
import importlib.util
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORKLOADS = ("mlp", "cnn", "lstm", "transformer")
TOLERANCE = 1e-4  # relative, of the first loss and of the loss after three steps
PAUSE = 0.04  # seconds, with more than one thread; see OPENBLAS_THREAD_TIMEOUT

DROPPED = (
    "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS",
    "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA",
    "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "HELPERS_MALLOC",
)  # fmt: skip

EXTRA: dict[str, str] = {}  # what --environment gives to all contestants

RATIO_TARGETS = {  # to PyTorch, by threads
    1: {"mlp": 0.80, "cnn": 0.72, "lstm": 1.20, "transformer": 0.90},
    2: {"mlp": 0.78, "cnn": 0.95, "lstm": 1.35, "transformer": 1.08},
}
MEMORY_TARGET = 0.25  # of PyTorch's
IMPORT_TARGET = 0.05  # seconds beyond NumPy's
OPERATION_TARGET = 4.0  # microseconds
LEADS = {"mlp": 1.0, "cnn": 5.0, "lstm": 1.0, "transformer": 1.0}  # over mygrad and autograd


@dataclass(frozen=True)
class Peer:
    """A contestant: its module in ``benchmarks.peers``, what it imports, its line in the tables."""

    module: str
    imports: tuple[str, ...]
    label: str


TORCH = Peer("torch_eager", ("torch",), "torch")
NUMPY = Peer("numpy_forward", ("numpy",), "NumPy, forward")
PEERS = {
    "engine": Peer("numpy_engine", ("helpers.autodiff", "helpers.nn", "helpers.optim"), "engine"),
    "tensorflow": Peer("tensorflow_function", ("tensorflow",), "tf.function"),
    "jax": Peer("jax_jit", ("jax",), "JAX jit"),
    "mygrad": Peer("mygrad_nnet", ("mygrad",), "mygrad"),
    "autograd": Peer("hips_autograd", ("autograd",), "HIPS autograd"),
}


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    engine_pairs: int
    peer_pairs: int
    block: float  # seconds
    repeats: int  # of imports


FULL = Effort(engine_pairs=25, peer_pairs=11, block=0.2, repeats=5)
QUICK = Effort(engine_pairs=5, peer_pairs=3, block=0.1, repeats=3)


Pairs = dict[str, dict[str, list[tuple[float, float]]]]


class ContestantError(Exception):
    """A contestant failed or computes something else."""


def environment(threads: int) -> dict[str, str]:
    """The environment of a worker: no accelerator, the number of threads, no other settings.

    Every library chooses for itself what suits the processor and how it asks for memory.
    """
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    counts = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")
    settings = {
        f"{name}_{'THREADS' if '_' in name else 'NUM_THREADS'}": str(threads) for name in counts
    }
    settings["OPENBLAS_THREAD_TIMEOUT"] = "26"  # 2**26 cycles, not 2**28
    settings |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if threads == 1:
        settings["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return kept | settings | EXTRA


class Worker:
    """A contestant's process; a context manager that ends it."""

    def __init__(self, peer: Peer, threads: int) -> None:
        self.peer, self.threads = peer, threads
        self.losses: list[float] = []
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer.module, str(threads)],
            cwd=ROOT,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        try:
            self.workloads = self._answer()["workloads"]
        except ContestantError:
            self.__exit__()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or ["no message"])[-1]
            raise ContestantError(f"{self.peer.label}: its process ended: {last}")
        answer = json.loads(line)
        if "error" in answer:
            raise ContestantError(f"{self.peer.label}: {answer['error']}")
        return answer

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended, as its answer will say
            print(json.dumps({"do": do} | arguments), file=self.process.stdin, flush=True)
        return self._answer()

    def check(self, workload: str, expected: list[float] | None = None) -> None:
        """Build a workload, and compare its losses with the expected ones."""
        if workload not in self.workloads:
            raise ContestantError(f"{self.peer.label}, {workload}: not written")
        losses = self.losses = self.ask("check", workload=workload)["losses"]
        for n in (0, 3):
            if expected and not math.isclose(losses[n], expected[n], rel_tol=TOLERANCE):
                raise ContestantError(
                    f"{self.peer.label}, {workload}: not timed, since the loss after {n} steps is "
                    f"{losses[n]:.6f}, and torch's {expected[n]:.6f}"
                )

    def block(self, workload: str, steps: int) -> float:
        """Seconds a step, after a pause."""
        if self.threads > 1:
            time.sleep(PAUSE)
        answer = self.ask("run", workload=workload, steps=steps)
        if not math.isfinite(answer["loss"]):
            raise ContestantError(f"{self.peer.label}, {workload}: the loss is {answer['loss']}")
        return answer["seconds"]

    def steps(self, workload: str, seconds: float) -> int:
        """How many steps take about so many seconds; warms up."""
        shortest = min(self.block(workload, 3) for _ in range(3))
        shortest = min(shortest, self.block(workload, max(1, round(seconds / shortest))))
        return max(1, round(seconds / shortest))


def say(text: str) -> None:
    """A line on progress, beside the tables."""
    print(text, file=sys.stderr, flush=True)


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return q1, median, q3


def processor_seconds() -> float:
    """Processor time that other programs have had since the machine started; 0 if unknown."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _idle, _iowait, *rest = map(int, stat.read_text().split()[1:9])
    everyone = (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        everyone -= usage.ru_utime + usage.ru_stime
    return everyone


@dataclass
class Steps:
    """What was measured with a number of threads."""

    threads: int
    pairs: Pairs  # by contestant and workload: seconds a step of torch and of the contestant
    memory: dict[str, dict[str, int]]  # by contestant and workload: peak bytes of the process
    others: float = 0.0  # processors that other programs had meanwhile

    @property
    def disturbed(self) -> bool:
        """Whether the threads and other programs wanted more processors than there are."""
        return self.threads + self.others > (os.cpu_count() or 1) + 0.15


def measure_steps(
    peers: list[str], workloads: list[str], threads: int, effort: Effort, faults: list[str]
) -> Steps:
    """Time paired blocks, and read the peak memory of the processes afterwards.

    Every contestant has a new process for every workload: what an earlier one did to the memory
    allocator can make a step half as long again.
    """
    steps = Steps(threads, {name: {} for name in peers}, {name: {} for name in ("torch", *peers)})
    start, before = time.perf_counter(), processor_seconds()
    for workload in workloads:
        with Worker(TORCH, threads) as torch:
            torch.check(workload)
            torch_count = torch.steps(workload, effort.block)
            for name in peers:
                pairs = effort.engine_pairs if name == "engine" else effort.peer_pairs
                say(f"{threads} thread{'s' * (threads > 1)}, {workload}: {name}, {pairs} pairs")
                try:
                    with Worker(PEERS[name], threads) as other:
                        other.check(workload, torch.losses)
                        count = other.steps(workload, effort.block)
                        steps.pairs[name][workload] = [
                            (torch.block(workload, torch_count), other.block(workload, count))
                            for _ in range(pairs)
                        ]
                        steps.memory[name][workload] = other.ask("memory")["bytes"]
                except ContestantError as error:
                    faults.append(str(error))
            steps.memory["torch"][workload] = torch.ask("memory")["bytes"]
    steps.others = (processor_seconds() - before) / (time.perf_counter() - start)
    return steps


def measure_operations(peers: list[str], faults: list[str]) -> dict[str, list[float]]:
    """Seconds an operation, of those contestants that run operation by operation."""
    eager = {name: PEERS[name] for name in peers if name in ("engine", "mygrad", "autograd")}
    results = {}
    for name, peer in {"numpy": NUMPY, "torch": TORCH, **eager}.items():
        say(f"operations: {name}")
        try:
            with Worker(peer, 1) as worker:
                results[name] = worker.ask("chain", repeats=20)["seconds"]
        except ContestantError as error:
            faults.append(str(error))
    return results


def measure_imports(peers: list[str], effort: Effort) -> dict[str, list[float]]:
    """Seconds to import in fresh processes; the engine's is what comes after NumPy's."""
    programs = {"numpy": ("", "numpy"), "torch": ("", "torch")}
    for name in peers:
        first = "import numpy; " if name == "engine" else ""
        programs[name] = (first, ", ".join(PEERS[name].imports))
    results: dict[str, list[float]] = {name: [] for name in programs}
    say("imports")
    for n in range(effort.repeats + 1):
        for name, (first, modules) in programs.items():
            code = f"import time; {first}t = time.perf_counter(); import {modules}; "
            done = subprocess.run(
                [sys.executable, "-c", code + "print(time.perf_counter() - t)"],
                cwd=ROOT,
                env=environment(1),
                capture_output=True,
                text=True,
            )
            if n and done.returncode == 0:  # the first fills the file cache
                results[name].append(float(done.stdout.split()[-1]))
    return {name: seconds for name, seconds in results.items() if seconds}


def digits(x: float) -> str:
    """A number with as many digits as it deserves: 0.045, 0.78, 1.24, 5.6, 49."""
    return f"{x:.3f}" if x < 0.1 else f"{x:.2f}" if x < 3 else f"{x:.1f}" if x < 30 else f"{x:.0f}"


def spread(values: list[float]) -> str:
    """Median and quartiles."""
    q1, median, q3 = quartiles(values)
    return f"{digits(median)} [{digits(q1)}–{digits(q3)}]"


def verdict(met: bool, disturbed: bool = False) -> str:
    return "disturbed" if disturbed else "met" if met else "MISSED"


def row(label: str, texts: list[str]) -> None:
    print((f"{label:<16}" + "".join(f"{text:<20}" for text in texts)).rstrip())


def cells(workloads: list[str], texts: dict[str, str]) -> list[str]:
    """A row's cells, with a dash where there is nothing."""
    return [texts.get(workload, "–") for workload in workloads]


def print_steps(steps: Steps) -> None:
    """The ratios of the steps' times for a number of threads, and how far ahead the engine is."""
    threads, disturbed = steps.threads, steps.disturbed
    workloads = [w for w in WORKLOADS if any(w in pairs for pairs in steps.pairs.values())]
    print(f"\nStep, {threads} thread{'s' * (threads > 1)}: ratio to torch, median [quartiles]")
    row("", workloads)
    torch = {w: [pair[0] for p in steps.pairs.values() for pair in p.get(w, [])] for w in workloads}
    row("torch, ms", [spread([1e3 * seconds for seconds in torch[w]]) for w in workloads])
    ratios = {
        name: {w: [other / torch for torch, other in pairs] for w, pairs in by_workload.items()}
        for name, by_workload in steps.pairs.items()
    }
    medians = {
        name: {w: statistics.median(values) for w, values in by_workload.items()}
        for name, by_workload in ratios.items()
    }
    engine = medians.get("engine", {})
    for name in ratios:
        row(PEERS[name].label, cells(workloads, {w: spread(r) for w, r in ratios[name].items()}))
        if name == "engine" and threads in RATIO_TARGETS:
            targets = RATIO_TARGETS[threads]
            marks = {
                w: f"≤ {targets[w]:.2f} {verdict(median <= targets[w], disturbed)}"
                for w, median in engine.items()
            }
            row("  target", cells(workloads, marks))
    for name in [n for n in ("mygrad", "autograd") if engine and n in medians]:
        leads = {w: medians[name][w] / engine[w] for w in medians[name].keys() & engine.keys()}
        marks = {
            w: f"{digits(lead)}, > {LEADS[w]:.0f} {verdict(lead > LEADS[w], disturbed)}"
            for w, lead in leads.items()
        }
        row(f"lead, {name}", cells(workloads, marks))
    print(f"Other programs had {steps.others:.2f} processors meanwhile" + ", too many" * disturbed)


def print_memory(steps: Steps) -> None:
    """Peak memory of every process."""
    memory = steps.memory
    workloads = [w for w in WORKLOADS if w in memory["torch"]]
    print(f"\nPeak memory of the process, MB (relative to torch), threads: {steps.threads}")
    row("", workloads)
    for name, by_workload in memory.items():
        ratios = {w: size / memory["torch"][w] for w, size in by_workload.items()}
        sizes = {w: f"{size / 1e6:.0f} ({ratios[w]:.2f})" for w, size in by_workload.items()}
        row(({"torch": TORCH} | PEERS)[name].label, cells(workloads, sizes))
        if name == "engine":
            marks = {
                w: f"≤ {MEMORY_TARGET:.2f} {verdict(ratio <= MEMORY_TARGET)}"
                for w, ratio in ratios.items()
            }
            row("  target", cells(workloads, marks))


def print_operations(results: dict[str, list[float]]) -> None:
    """Time an operation."""
    print(
        "\nOne operation with its backward pass, µs, median [quartiles], 1 thread: 100 operations,"
    )
    print("33 × (y * w, … + b, tanh) and one sum; 8 elements, float32, gradients of y, w and b")
    for name, seconds in results.items():
        label = {"torch": TORCH, "numpy": NUMPY, **PEERS}[name].label
        texts = [spread([1e6 * s for s in seconds])]
        if name == "engine":
            met = 1e6 * statistics.median(seconds) <= OPERATION_TARGET
            texts.append(f"≤ {OPERATION_TARGET} {verdict(met)}")
        row(label, texts)


def print_imports(results: dict[str, list[float]]) -> None:
    """Import times."""
    print("\nImport in a fresh process, s, median [quartiles]")
    for name, seconds in results.items():
        texts = [spread(seconds)]
        if name == "engine":
            texts = [f"{statistics.median(seconds):.3f} after NumPy"]
            met = statistics.median(seconds) <= IMPORT_TARGET
            texts.append(f"≤ {IMPORT_TARGET} {verdict(met)}")
        row(name, texts)


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hardware() -> dict[str, Any]:
    """The machine and the versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [ln for ln in cpuinfo.read_text().splitlines() if ln.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    versions = {"python": platform.python_version()}
    for package in ("numpy", "torch", "tensorflow-cpu", "tensorflow", "jax", "mygrad", "autograd"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "processor": model,
        "processors": processors(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def installed(module: str) -> bool:
    """Whether a module can be found, without importing it (only its package)."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="benchmarks.engine", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few pairs, for a rough answer")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--threads", nargs="+", type=int, help="numbers of threads (1 2)")
    parser.add_argument(
        "--environment", nargs="+", default=[], metavar="NAME=VALUE", help="for all contestants"
    )
    parser.add_argument("--json", type=Path, default=ROOT / "_build/bench/engine.json")
    options = parser.parse_args()
    for setting in options.environment:
        if "=" not in setting:
            parser.error(f"--environment {setting}: must be NAME=VALUE")
    EXTRA.update(setting.split("=", 1) for setting in options.environment)
    available = processors()
    options.threads = options.threads or [n for n in (1, 2) if n <= available]
    for threads in options.threads:
        if not 1 <= threads <= available:
            parser.error(f"--threads {threads}: this machine has 1 to {available}")
    if not installed("torch"):
        parser.error("PyTorch, which everything is compared with, is not installed")
    if options.json.is_dir():
        parser.error(f"--json {options.json}: is a folder")
    try:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.touch()
    except OSError as error:
        parser.error(f"--json {options.json}: {error.strerror}")
    return options


def main() -> None:
    """Measure, print, and write the numbers."""
    options = arguments()
    effort = QUICK if options.quick else FULL
    machine = hardware()
    print(f"{machine['processor']}, {machine['processors']} processors, {machine['system']}")
    print(" · ".join(f"{name} {number}" for name, number in machine["versions"].items()))
    if dropped := [name for name in DROPPED if name in os.environ]:
        print(f"Left out of the environment: {', '.join(dropped)}")
    if EXTRA:
        print(f"For all contestants: {' '.join(options.environment)}")
    peers = []
    for name in dict.fromkeys(options.peers):
        missing = [module for module in PEERS[name].imports if not installed(module)]
        if missing:
            print(f"{name} is left out: {', '.join(missing)} not installed")
        else:
            peers.append(name)
    workloads = [w for w in WORKLOADS if w in options.workloads]
    print("Step: forward, backward and SGD, float32; the same weights and batch for all")
    faults: list[str] = []
    measured = []
    for threads in dict.fromkeys(options.threads):
        measured.append(measure_steps(peers, workloads, threads, effort, faults))
        print_steps(measured[-1])
    print_memory(measured[0])
    operations = measure_operations(peers, faults)
    print_operations(operations)
    imports = measure_imports(peers, effort)
    print_imports(imports)
    for fault in dict.fromkeys(faults):
        print(f"\n{fault}")
    numbers = {
        "hardware": machine,
        "quick": options.quick,
        "steps": [asdict(steps) | {"disturbed": steps.disturbed} for steps in measured],
        "seconds an operation": operations,
        "seconds of import": imports,
        "faults": faults,
    }
    options.json.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
    say(f"Every number is in {os.path.relpath(options.json)}")


if __name__ == "__main__":
    try:
        main()
    except ContestantError as error:
        sys.exit(str(error))
