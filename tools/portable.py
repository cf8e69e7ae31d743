"""Run the notebooks and the package's tests under other kernels of the same libraries.

A result that changes when a processor rounds otherwise is no result. The numerical libraries
carry kernels for several generations of processors and choose by the machine; their own variables
make them choose others, so that one machine stands in for several. Each run under one choice is a
*leg*. ``make portable`` runs all legs, ``make portable C=part`` or ``C=part/slug`` the notebooks
of a part or a page, ``LEG=oldest`` one leg.

A leg's variables are set for its child processes alone, and each library is asked afterwards
whether it took them.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tools.twins import CHAPTERS, KERNEL_ENVIRONMENT, ROOT, files

LOGS = ROOT / "_build/portable"
X86 = platform.machine().lower() in ("x86_64", "amd64")
SHOWN = 12  # failures that a line names
ADVICE = (
    "Do not widen a tolerance: print fewer digits, compute in float64, take more seeds, or assert "
    "what does not depend on rounding (CONTRIBUTING.md, How outputs are tested)."
)


@dataclass(frozen=True)
class Leg:
    """One choice of kernels: the variables to set, and what the libraries then have to say."""

    variables: dict[str, str]
    keeps: frozenset[str] = frozenset()  # of NumPy's kernels above its baseline
    says: dict[str, str] = field(default_factory=dict)  # library: a pattern of its answer
    threads: int = 1


# XLA names a target by its features: the first that the leg does without has to be missing.
OLDEST_X86 = Leg(
    {
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
    },
    says={
        "OpenBLAS": "Nehalem",
        "PyTorch": "DEFAULT",
        "MKL": "COMPATIBLE",
        "oneDNN": r".*SSE4\.1",
        "XLA": r"(?!.*\+avx).*",
    },
)
AVX2_X86 = Leg(
    {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
    keeps=frozenset({"X86_V3", "AVX2", "FMA3"}),
    says={
        "OpenBLAS": "Haswell",
        "PyTorch": "AVX2",
        "MKL": "AVX2|AUTO",  # AUTO on processors that are not Intel's
        "oneDNN": r".*AVX2",
        "XLA": r"(?!.*\+avx512).*",
    },
)
OLDEST_ARM = Leg(
    {"OPENBLAS_CORETYPE": "ARMV8", "ATEN_CPU_CAPABILITY": "default"},
    says={"OpenBLAS": "(?i:armv8)", "PyTorch": "DEFAULT"},
)
NATIVE = Leg({})
THREADS = Leg(
    {name: "2" for name in KERNEL_ENVIRONMENT} | {"KERNELS": "fresh"},
    threads=2,
)
LEGS = (
    {"oldest": OLDEST_X86, "avx2": AVX2_X86, "native": NATIVE, "threads": THREADS}
    if X86
    else {"oldest": OLDEST_ARM, "native": NATIVE, "threads": THREADS}
)
# What any leg sets, no leg inherits; the second decides how OpenBLAS cuts its blocks.
CHOOSING = {
    *OLDEST_X86.variables,
    "OPENBLAS_L2_SIZE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
}

# Asks every library which kernels it uses; run under a leg's variables. MKL and oneDNN say so
# themselves, when they first compute; XLA in the code that it generates.
ASK = r"""
import glob, json, os, re, sys, tempfile
import numpy as np
import scipy.linalg
from numpy._core import _multiarray_umath as core
from threadpoolctl import threadpool_info

answers = {"NumPy": " ".join(f for f in core.__cpu_dispatch__ if core.__cpu_features__.get(f))}
a = np.arange(64.0 * 96).reshape(64, 96) / 6144
assert np.allclose(a @ a.T, np.einsum("ik,jk", a, a, optimize=False), rtol=1e-12)
scipy.linalg.lu_factor(a @ a.T + np.eye(64))
pools = [p for p in threadpool_info() if p["internal_api"] == "openblas"]
if pools:
    answers["OpenBLAS"] = " ".join(sorted({p["architecture"] for p in pools}))
threads = {"OpenBLAS": max(p["num_threads"] for p in pools)} if pools else {}
try:
    import torch
except ModuleNotFoundError:
    torch = None
if torch is not None:
    answers["PyTorch"] = torch.backends.cpu.get_cpu_capability()
    threads["PyTorch"] = torch.get_num_threads()
    with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):
        torch.ones(64, 64) @ torch.ones(64, 64)
    x, w = torch.ones(4, 16, 32, 32), torch.ones(16, 16, 3, 3)
    torch.nn.functional.conv2d(x, w)
try:
    import helpers
    folder = tempfile.mkdtemp()
    dump = f" --xla_dump_to={folder} --xla_dump_hlo_as_text"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + dump
    import tensorflow as tf
except ModuleNotFoundError:
    tf = None
if tf is not None:
    tf.function(lambda v: v * 2 + 1, jit_compile=True)(tf.ones(64))
    found = [
        features
        for path in glob.glob(folder + "/*.ll")
        for features in re.findall(r'"target-features"="([^"]*)"', open(path).read())
    ]
    answers["XLA"] = max(found, key=len) if found else ""
sys.stdout.flush()
os.write(1, ("\nANSWERS " + json.dumps([answers, threads]) + "\n").encode())
"""


def environment(name: str) -> dict[str, str]:
    """Return the environment of a leg's child processes."""
    leg = LEGS[name]
    kept = {k: v for k, v in os.environ.items() if k not in CHOOSING and k != "KERNELS"}
    own = KERNEL_ENVIRONMENT | leg.variables | {"PORTABLE": name}
    if leg.says:
        own["NPY_DISABLE_CPU_FEATURES"] = " ".join(above_baseline(leg.keeps))
    return kept | own


def above_baseline(keeps: frozenset[str]) -> list[str]:
    """Return NumPy's kernels that this machine has above the baseline, but for ``keeps``.

    NumPy refuses to go without its baseline, and warns of what the machine lacks anyway.
    """
    code = (
        "from numpy._core import _multiarray_umath as core\n"
        "print(*[f for f in core.__cpu_dispatch__ if core.__cpu_features__.get(f)])"
    )
    clean = {k: v for k, v in os.environ.items() if k not in CHOOSING}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
    )
    return [f for f in done.stdout.split() if f not in keeps]


def ask(variables: dict[str, str]) -> tuple[dict[str, str], dict[str, int]] | str:
    """Return what the libraries say of their kernels and threads, or how asking them failed."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", ASK],
            env=variables | {"ONEDNN_VERBOSE": "1", "TMPDIR": folder},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"^ANSWERS (.+)$", done.stdout, re.M)
    if done.returncode or not found:
        return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    answers, threads = json.loads(found[1])
    if mkl := re.search(r"CNR:(\w+)", done.stdout):
        answers["MKL"] = mkl[1]
    if onednn := re.search(r"onednn_verbose,v1,info,cpu,isa:(.*)", done.stdout):
        answers["oneDNN"] = onednn[1]
    return answers, threads


def not_taken(leg: Leg, answers: dict[str, str], threads: dict[str, int]) -> list[str]:
    """Return which libraries did not take the leg's settings, in words."""
    wrong = [
        f"{library} uses {answers[library]!r}"
        for library, pattern in leg.says.items()
        if library in answers and not re.fullmatch(pattern, answers[library])
    ]
    if leg.says and (more := {*answers["NumPy"].split()} - leg.keeps):
        wrong.append(f"NumPy uses {' '.join(sorted(more))}")
    # TensorFlow cannot be asked: it answers 0 whatever its variables say.
    wrong += [
        f"{library} uses {n} threads instead of {leg.threads}"
        for library, n in threads.items()
        if n != leg.threads
    ]
    return wrong


def prepare(name: str) -> tuple[dict[str, str], str]:
    """Return a leg's environment, and what its libraries say, in a few words.

    Raises:
        RuntimeError: a library did not take the settings.
    """
    variables, note = environment(name), ""
    answer = ask(variables)
    if isinstance(answer, str) and name in ("native", "threads"):
        # Some builds of OpenBLAS fail on some processors: then what was set is kept.
        kept = {k: os.environ[k] for k in CHOOSING if k in os.environ}
        variables, note = variables | kept, f"; kept {', '.join(sorted(kept))}: {answer}"
        answer = ask(variables)
    if isinstance(answer, str):
        raise RuntimeError(f"the libraries fail under it: {answer}")
    if wrong := not_taken(LEGS[name], *answer):
        raise RuntimeError(f"its settings were not taken: {'; '.join(wrong)}")
    answers = answer[0]
    words = {
        "NumPy": answers["NumPy"] or "baseline",
        "OpenBLAS": answers.get("OpenBLAS"),
        "PyTorch": answers.get("PyTorch"),
        "MKL": answers.get("MKL"),
        "oneDNN": re.sub(" with .*| support|Intel ", "", answers.get("oneDNN", "")),
    }
    said = ", ".join(f"{library} {word}" for library, word in words.items() if word)
    return variables, said + note


def run(name: str, targets: list[str], variables: dict[str, str], record: Path) -> str | None:
    """Run pytest on the targets under a leg; return what is wrong with the run itself, if so."""
    record.parent.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = max(1, cores // LEGS[name].threads)
    options = ["--nbval", "--numprocesses", str(workers), "--dist", "loadscope", "-q", "-rfE"]
    options += ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={record}"]
    with record.with_suffix(".log").open("w", encoding="utf-8") as log:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--color=no", *options, *targets],
            env=variables,
            cwd=ROOT,
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode not in (0, 1) or not record.exists():
        return f"pytest ended with {done.returncode}, see {shown(record.with_suffix('.log'))}"
    return None


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def results(record: Path) -> tuple[int, int, int, list[str]]:
    """Return how many tests passed, failed and were skipped, and the failures by name.

    Cells of one notebook are one entry: ``networks/activations: cells 43, 45``.
    """
    passed = failed = skipped = 0
    cells: dict[str, list[str]] = defaultdict(list)
    others = []
    for case in ElementTree.parse(record).iter("testcase"):
        kinds = {child.tag for child in case}
        if not kinds & {"failure", "error"}:
            skipped += "skipped" in kinds
            passed += "skipped" not in kinds
            continue
        failed += 1
        page, what = case.get("file") or "", case.get("name") or ""
        if page.endswith(".ipynb") and what.startswith("Cell "):
            # Counted as the page's "code cell" elsewhere: from one.
            page = page.removesuffix(".ipynb").split("chapters/")[-1]
            cells[page].append(str(int(what.removeprefix("Cell ")) + 1))
        else:
            others.append(f"{Path(page).name}::{what}" if page else what)
    named = [
        f"{page}: code cell{'s' if len(found) > 1 else ''} {', '.join(found)}"
        for page, found in sorted(cells.items())
    ]
    return passed, failed, skipped, named + others


def sentence(name: str, targets: list[str], record: Path) -> tuple[bool, str]:
    """Run a leg; return whether it passed, and its line."""
    began = time.monotonic()
    try:
        variables, said = prepare(name)
    except RuntimeError as error:
        return False, f"{name}: not run, {error}"
    if fault := run(name, targets, variables, record):
        return False, f"{name}: {fault}"
    passed, failed, skipped, names = results(record)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    line = f"{name}: {passed} passed, {failed} failed, {skipped} skipped"
    line += f" in {minutes}:{seconds:02}"
    if failed:
        more = f"; {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        line += " – " + "; ".join(names[:SHOWN]) + more
    return not failed, f"{line} ({said})"


def fault(page: Path, text: str) -> str | None:
    """Run a notebook that is not written yet under the oldest kernels; say what fails, if so.

    Where the libraries do not take the settings, say so and let it pass: CI's processors do.
    """
    copy = LOGS / page
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, encoding="utf-8")
    try:
        variables, _ = prepare("oldest")
    except RuntimeError as error:
        print(f"{page}: not tried under the oldest kernels: {error}.", file=sys.stderr)
        return None
    record = LOGS / "chapter.xml"
    if wrong := run("oldest", [str(copy)], variables, record):
        return wrong
    *_, names = results(record)
    if not names:
        return None
    return (
        f"{'; '.join(names)}: fails under the oldest kernels, see {shown(record)[:-4]}.log. "
        + ADVICE
    )


def select(choice: str) -> list[str] | str:
    """Return pytest's targets for a part, a page or (empty) everything, or what is wrong."""
    if not choice:
        return ["tests/helpers", "chapters"]
    choice = choice.removeprefix("chapters/").removesuffix(".md").removesuffix(".ipynb").strip("/")
    notebooks = [p.relative_to(CHAPTERS).with_suffix("").as_posix() for p in files(".ipynb")]
    chosen = [p for p in notebooks if p == choice or p.startswith(f"{choice}/")]
    if chosen:
        return [f"chapters/{page}.ipynb" for page in chosen]
    parts = sorted({page.split("/")[0] for page in notebooks})
    return f"No part or page '{choice}'. The parts are: {', '.join(parts)}."


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.portable", description=__doc__)
    parser.add_argument("choice", nargs="?", default="", help="a part or a page; all without it")
    parser.add_argument("--leg", default="", help=f"one of {', '.join(LEGS)}; all without it")
    given = parser.parse_args(arguments)
    if given.leg and given.leg not in LEGS:
        print(f"No leg '{given.leg}'. The legs are: {', '.join(LEGS)}.", file=sys.stderr)
        return 2
    targets = select(given.choice)
    if isinstance(targets, str):
        print(targets, file=sys.stderr)
        return 2
    good = True
    for name in [given.leg] if given.leg else LEGS:
        passed, line = sentence(name, targets, LOGS / f"{name}.xml")
        print(line, flush=True)
        good &= passed
    if not good:
        print(f"What failed, and how: {shown(LOGS)}/<leg>.log. {ADVICE}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
