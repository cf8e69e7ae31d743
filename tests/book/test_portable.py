"""The legs: their settings are taken or refused, and a page that depends on kernels is named."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tools import portable
from tools.chapter import hardware
from tools.next_step import next_step
from tools.twins import KERNEL_ENVIRONMENT, files

x86 = pytest.mark.skipif(not portable.X86, reason="the leg is for x86-64")


def test_a_leg_sets_its_variables_and_inherits_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for name, leg in portable.LEGS.items():
        made = portable.environment(name)
        assert made["PORTABLE"] == name
        assert made.items() >= leg.variables.items()
        assert made["OMP_NUM_THREADS"] == str(leg.threads)
        assert made.get("OPENBLAS_CORETYPE") == leg.variables.get("OPENBLAS_CORETYPE")
        assert "OPENBLAS_L2_SIZE" not in made
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"  # for child processes only
    two = portable.environment("threads")
    assert {two[name] for name in KERNEL_ENVIRONMENT} == {"2"} and two["KERNELS"] == "fresh"


@x86
def test_a_library_that_does_not_take_its_setting_is_named() -> None:
    taken = {
        "NumPy": "",
        "OpenBLAS": "Nehalem",
        "PyTorch": "DEFAULT",
        "MKL": "COMPATIBLE",
        "oneDNN": "Intel SSE4.1",
        "XLA": "+sse4.2,+popcnt",
    }
    leg, threads = portable.LEGS["oldest"], {"OpenBLAS": 1, "PyTorch": 1}
    assert portable.not_taken(leg, taken, threads) == []
    assert portable.not_taken(leg, {"NumPy": ""}, {}) == []  # libraries that are not there
    for library, word in {
        "NumPy": "X86_V3",
        "OpenBLAS": "Haswell Nehalem",
        "PyTorch": "AVX2",
        "MKL": "OFF",
        "oneDNN": "Intel AVX2",
        "XLA": "+sse4.2,+avx2",
    }.items():
        [wrong] = portable.not_taken(leg, taken | {library: word}, threads)
        assert wrong.startswith(library) and word in wrong
    assert portable.not_taken(leg, taken, threads | {"PyTorch": 2}) == [
        "PyTorch uses 2 threads instead of 1"
    ]


def test_a_leg_that_cannot_be_run_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(portable, "ask", lambda variables: "Illegal instruction")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert portable.sentence("oldest", [], tmp_path / "x.xml") == (
        False,
        "oldest: not run, the libraries fail under it: Illegal instruction",
    )

    def only_as_set(variables: dict[str, str]):
        if "OPENBLAS_CORETYPE" not in variables:
            return "Segmentation fault"
        return {"NumPy": "", "OpenBLAS": "Haswell"}, {}

    monkeypatch.setattr(portable, "ask", only_as_set)
    variables, said = portable.prepare("native")
    assert variables["OPENBLAS_CORETYPE"] == "Haswell"
    assert "kept OPENBLAS_CORETYPE" in said and "Segmentation fault" in said


RECORD = """<testsuites><testsuite>
<testcase file="chapters/networks/losses.ipynb" name="Cell 2"><failure/></testcase>
<testcase file="chapters/networks/losses.ipynb" name="Cell 10"><failure/></testcase>
<testcase file="chapters/networks/losses.ipynb" name="Cell 3"/>
<testcase file="tests/helpers/test_nn.py" name="test_x[a]"><error/></testcase>
<testcase file="tests/helpers/test_nn.py" name="test_y"><skipped/></testcase>
</testsuite></testsuites>"""


def test_failures_are_counted_and_cells_named_as_the_pages_count_them(tmp_path: Path) -> None:
    (tmp_path / "record.xml").write_text(RECORD)
    assert portable.results(tmp_path / "record.xml") == (
        1,
        3,
        1,
        ["networks/losses: code cells 3, 11", "test_nn.py::test_x[a]"],
    )


def test_a_part_a_page_or_everything_is_chosen() -> None:
    everything = portable.select("")
    assert everything == ["tests/helpers", "chapters"]
    page = ["chapters/networks/losses.ipynb"]
    for spelled in ("networks/losses", "chapters/networks/losses.md", "networks/losses.ipynb"):
        assert portable.select(spelled) == page
    part = portable.select("networks")
    assert page[0] in part and len(part) > 5 and all("/networks/" in p for p in part)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["networks/no-such"], "No part or page 'networks/no-such'. The parts are: foundations"),
        (["net"], "No part or page 'net'"),
        (["--leg", "eldest"], "No leg 'eldest'. The legs are: oldest"),
    ],
)
def test_an_unknown_choice_gets_a_sentence(arguments, words, capsys) -> None:
    assert portable.main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.fixture
def logs() -> Iterator[Path]:
    """Make a folder inside the book, where its conftest.py is in force."""
    (portable.ROOT / "_build").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=portable.ROOT / "_build") as folder:
        yield Path(folder)


def test_a_notebook_that_depends_on_the_kernels_is_not_written(logs: Path) -> None:
    """The whole of it: settings, kernels, nbval and the sentence."""
    code = "import os\nimport numpy as np\nprint('one')\nprint(os.environ.get('PORTABLE', 'none'))"
    script = f"""
import nbformat
from pathlib import Path
from tools import portable
cell = nbformat.v4.new_code_cell({code!r}, execution_count=1)
cell.outputs = [nbformat.v4.new_output("stream", text="one\\nnone\\n")]
page = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell("1", execution_count=2)])
portable.LOGS = Path({str(logs)!r})
print(portable.fault(Path("chapters/start/draft.ipynb"), nbformat.writes(page)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=portable.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    [said] = done.stdout.splitlines()
    assert "start/draft: code cells 1, 2: fails under the oldest kernels" in said, done
    assert "Do not widen a tolerance" in said
    assert "oldest" in (logs / "chapter.log").read_text()


def test_after_failures_a_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    page = str(files(".ipynb")[0].relative_to(portable.ROOT))
    cell = [f"{page}::Cell 3", "tests/helpers/test_nn.py::test_x"]
    assert "alone by its name" in next_step(cell[1:])
    monkeypatch.setattr("tools.next_step.versions", lambda: {"numpy": "9.0"})
    assert "→ 9.0" in next_step(cell) and "a pin changed" in next_step(cell)
    monkeypatch.undo()
    monkeypatch.setattr("tools.next_step.hardware", lambda: "an abacus")
    assert "this is an abacus: make portable C=" in next_step(cell)
    assert "CPU" in hardware()
