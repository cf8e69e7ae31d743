"""The book as a whole: contents, claims, links, the repository's own rules."""

import re
from pathlib import Path

import pytest
import yaml

from tools.contents import documents
from tools.environment import missing_packages, packages_fault, python_fault
from tools.twins import CHAPTERS, ROOT, files, read_source, sources, tracked

LISTED = documents()
PAGES = files(".md")
CLAIMS = yaml.safe_load((ROOT / "tests/book/claims.yml").read_text(encoding="utf-8"))
CLAIM = re.compile(r":::\{claim\} ([\w-]+)\n:verdict: (holds|refined|refuted)\n(.+?)\n:::", re.S)


def name(path: Path) -> str:
    return str(path.relative_to(CHAPTERS).with_suffix(""))


def text_files() -> list[tuple[Path, str]]:
    endings = {".md", ".py", ".yml", ".toml", ".txt", ".css", ".js", ".bib", ".svg", ""}
    return [(p, p.read_text(encoding="utf-8")) for p in tracked() if p.suffix in endings]


def test_contents_list_every_page_once_and_no_other() -> None:
    assert sorted(LISTED) == sorted(f"chapters/{name(p)}" for p in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    text = re.sub(
        r"^```\{code-cell\}.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    links = re.findall(r"\]\(([^)\s]+)\)|```\{figure\} (\S+)", text)
    for link in filter(None, (a or b for a, b in links)):
        if not re.match(r"[a-z]+://|#|mailto:", link):
            assert (page.parent / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pictures_have_alternative_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for figure in re.findall(r"```\{(?:figure|image)\}.*?```", text, re.S):
        assert re.search(r"^:alt: .{20,}", figure, re.M), figure
    assert not re.search(r"!\[\]\(", text)


@pytest.mark.parametrize("source", sources(), ids=name)
def test_claims_are_the_chapters_own_and_followed_by_their_test(source: Path) -> None:
    cells = read_source(source).cells
    found = []
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if cell.cell_type != "markdown" or "{claim}" not in cell.source:
            continue
        claims = CLAIM.findall(cell.source)
        assert len(claims) == cell.source.count("{claim}") == 1, cell.source
        found.append(claims[0][0])
        assert cell.source.rstrip().endswith(":::"), "nothing stands between a claim and its test"
        assert following is not None and following.cell_type == "code", claims[0][0]
        assert "claim" in following.metadata.get("tags", []), claims[0][0]
        assert "assert " in following.source, f"the test of {claims[0][0]} cannot fail"
    assert sorted(found) == sorted(CLAIMS.get(name(source), []))


def test_claims_are_listed_once() -> None:
    every = [claim for claims in CLAIMS.values() for claim in claims]
    assert len(every) == len(set(every)) > 90


def test_the_address_of_the_repository_stands_in_one_place() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = config["repository"]["url"].removeprefix("https://")
    assert [p.name for p, text in text_files() if address in text] == ["_config.yml"]


def test_files_name_no_machine() -> None:
    pattern = re.compile(r"(?<![\w.*\"|(])/(home|root|Users|work)/\w")
    for path, text in text_files():
        assert not pattern.search(text), path


def test_every_citation_is_in_the_bibliography_and_every_work_cited() -> None:
    keys = re.findall(r"^@\w+\{(\w+),", (ROOT / "references.bib").read_text("utf-8"), re.M)
    cited = re.findall(r"\{cite:\w+\}`([^`]+)`", "".join(p.read_text("utf-8") for p in PAGES))
    assert sorted(keys) == sorted({k.strip() for c in cited for k in c.split(",")})


def test_site_builds_without_a_warning(site) -> None:
    assert site.status == 0, site.log
    assert (site.html / "index.html").exists()


def count_lines(pattern: str) -> dict[str, int]:
    """Count the lines of the modules of ``helpers`` that fit a pattern."""
    found = (ROOT / "src/helpers").glob(pattern)
    return {path.name: len(path.read_text("utf-8").splitlines()) for path in found}


def test_the_helpers_have_no_module_over_400_lines() -> None:
    assert max(count_lines("**/*.py").values()) <= 400, count_lines("**/*.py")


def test_the_engine_stays_small() -> None:
    core = count_lines("arrays.py") | count_lines("rules*.py") | count_lines("autodiff.py")
    assert sum(core.values()) <= 1200, core
    layers = count_lines("layers/*.py")
    assert layers and max(layers.values()) <= 300, layers


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13), (3, 11, 7)])
def test_supported_pythons_are_accepted(version: tuple[int, ...]) -> None:
    assert python_fault(version) is None


@pytest.mark.parametrize("version", [(2, 7), (3, 9), (3, 10), (3, 14)])
def test_other_pythons_are_refused_with_what_to_do(version: tuple[int, ...]) -> None:
    fault = python_fault(version)
    assert "Python {}.{}".format(*version) in fault and "PYTHON=" in fault


def test_the_environment_is_the_pinned_one() -> None:
    assert missing_packages((ROOT / "requirements.txt").read_text("utf-8")) == []


def test_a_missing_package_is_named_with_what_to_do() -> None:
    fault = packages_fault("numpy==2.4.6\n# a comment\nno-such-package==1.0\npytest==0.1  # old")
    assert "no-such-package" in fault and "pytest" in fault and "make clean-venv" in fault
    assert "numpy" not in fault
    assert packages_fault('no-such-package==1; python_version < "3"') is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["no/such-chapter"],
            "No chapter 'no/such-chapter'. The chapters are: ",
        ),
        ([], "make chapter C="),
    ],
)
def test_an_unknown_chapter_gets_a_sentence(arguments, words, capsys) -> None:
    from tools.chapter import main

    assert main(arguments) == 2
    assert words in capsys.readouterr().err
