"""Binder: the branch it opens, and each step of its configuration, without Docker or network."""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tools.environment import python_fault
from tools.fresh import PIP, fresh_environment
from tools.readers import SETS, write
from tools.twins import ROOT, tracked

NEEDED = ["requirements.txt", "constraints.txt", "runtime.txt", "postBuild", "pyproject.toml"]
PAGE = "start/reading-this-book.ipynb"
PATIENCE = 300  # seconds after which something hangs, also beside other jobs


def run(*command: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish the branch ``readers`` from a copy into a bare repository, and check it out."""
    folder = tmp_path_factory.mktemp("binder")
    main, bare, out = folder / "main", folder / "bare.git", folder / "readers"
    for path in tracked():
        target = main / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    notebooks = folder / "site/notebooks"
    write(ROOT, notebooks)
    run("git", "init", "--quiet", "--bare", bare, cwd=folder)
    run("git", "init", "--quiet", cwd=main)
    for said in ("Published the branch readers.", "The branch readers is up to date."):
        done = run(".ci/readers", notebooks, bare, cwd=main)
        assert (done.returncode, done.stdout.strip()) == (0, said), done.stderr
    done = run("git", "clone", "--quiet", "--branch", "readers", bare, out, cwd=folder)
    assert done.returncode == 0, done.stderr
    return out


def test_the_branch_holds_the_notebooks_and_their_environment(branch: Path) -> None:
    assert sorted(p.name for p in branch.iterdir()) == sorted(
        [".git", "LICENSE", "README.md", "notebooks", "src", *NEEDED]
    )
    for name in NEEDED:
        assert (branch / name).read_bytes() == (ROOT / name).read_bytes()
    assert [p.name for p in sorted((branch / "notebooks").iterdir())] == sorted(SETS)
    assert os.access(branch / "postBuild", os.X_OK)
    assert not list(branch.rglob("*.egg-info")) and not list(branch.rglob("__pycache__"))
    log = run("git", "log", "--oneline", cwd=branch).stdout
    assert len(log.splitlines()) == 1


def test_the_runtime_is_a_python_that_the_book_runs_on(branch: Path) -> None:
    name, _, version = (branch / "runtime.txt").read_text("utf-8").strip().partition("-")
    major_minor = tuple(map(int, version.split(".")))
    assert name == "python" and len(major_minor) == 2
    assert python_fault(major_minor) is None
    wanted = tomllib.loads((branch / "pyproject.toml").read_text("utf-8"))["project"]
    assert wanted["requires-python"] == ">=3.11,<3.14"


def test_the_requirements_resolve_to_what_is_installed(branch: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index"]
    report = tmp_path / "report.json"
    done = run(*command, "--report", report, "-r", "requirements.txt", cwd=branch)
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text("utf-8"))["install"] == []


def test_post_build_installs_the_package(branch: Path, tmp_path: Path) -> None:
    """The script itself: its flags need neither the network nor a build environment."""
    python = fresh_environment(tmp_path)
    paths = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    which = [python, "-c", "import helpers; print(helpers.__file__)"]
    assert run(*which, cwd=tmp_path, PYTHONPATH="").returncode == 1
    offline = {
        k: v for k, v in PIP.items() if k in ("PIP_NO_INDEX", "PIP_DISABLE_PIP_VERSION_CHECK")
    }
    done = run("./postBuild", cwd=branch, PATH=paths, **offline)
    assert done.returncode == 0, done.stderr
    found = run(*which, cwd=tmp_path, PYTHONPATH="").stdout.strip()
    assert Path(found).is_relative_to(branch / "src")


@pytest.fixture
def lab(branch: Path, tmp_path: Path) -> Iterator[str]:
    """Start JupyterLab as Binder does, in the branch; return its address."""
    folders = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    own = {f"JUPYTER_{name}": str(tmp_path / name) for name in folders}
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
    command = [sys.executable, "-m", "jupyterlab", *options, "--IdentityProvider.token=reader"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=branch, env={**os.environ, **own}, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + PATIENCE
        files = tmp_path / "RUNTIME_DIR"
        # The file is there before its content is.
        while not any(found := [p.read_text("utf-8") for p in files.glob("jpserver-*.json")]):
            assert server.poll() is None and time.monotonic() < deadline, log.name
            time.sleep(0.2)
        yield f"http://127.0.0.1:{json.loads(found[0])['port']}"
    finally:
        server.terminate()
        server.wait(PATIENCE)


def get(address: str) -> bytes:
    request = Request(address, headers={"Authorization": "token reader"})
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urlopen(request, timeout=PATIENCE) as answer:
                assert answer.status == 200
                return answer.read()
        except URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.2)
    raise AssertionError(f"nobody answers at {address}")


def test_jupyterlab_serves_the_notebooks(lab: str, branch: Path) -> None:
    """The address that the button opens, and the contents that the page then asks for."""
    assert b"JupyterLab" in get(f"{lab}/lab/tree/notebooks/all/{PAGE}")
    for name in SETS:
        served = json.loads(get(f"{lab}/api/contents/notebooks/{name}/{PAGE}"))["content"]
        stored = json.loads((branch / "notebooks" / name / PAGE).read_text("utf-8"))
        assert len(served["cells"]) == len(stored["cells"])
        assert "import helpers" in served["cells"][0]["source"]
    assert "python3" in json.loads(get(f"{lab}/api/kernelspecs"))["kernelspecs"]
