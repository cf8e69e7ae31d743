"""Every kind of page, light and dark, in tabs and in columns, examined by axe-core."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tools.pdf import SETTLED

KINDS = [
    "chapters/index.html",
    "chapters/foundations/index.html",
    "chapters/start/reading-this-book.html",
    "chapters/networks/backpropagation.html",
    "chapters/reference/claims.html",
    "chapters/reference/untested.html",
    "chapters/reference/glossary.html",
    "chapters/reference/bibliography.html",
    "search.html?q=tensor",
    "genindex.html",
]


@pytest.fixture(scope="module")
def axe() -> Axe:
    return Axe()


def violations(axe: Axe, page: Page) -> list[str]:
    """Run all of axe's rules and say what they found, where."""
    page.evaluate(SETTLED)
    # The theme turns dark once the page is there, and its labels fade from colour to colour.
    page.evaluate(
        """async () => {
          await Promise.allSettled(document.getAnimations().map((fade) => fade.finished));
        }"""
    )
    return [
        f"{found['id']} ({found['impact']}): {node['html'][:120]}"
        for found in axe.run(page).response["violations"]
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(axe: Axe, new_page: Callable[..., Page], path: str, scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    page.goto(f"{path}{'&' if '?' in path else '?'}view=tabs")
    assert violations(axe, page) == []


def test_axe_finds_nothing_on_the_longest_chapter(axe: Axe, page: Page) -> None:
    page.goto("chapters/foundations/tensors.html")
    assert violations(axe, page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_columns_and_open_solutions(
    axe: Axe, new_page: Callable[..., Page], scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    page.goto("chapters/networks/backpropagation.html?view=columns")
    page.locator(".solution > .admonition-title .toggle-button").evaluate_all(
        "(all) => all.forEach((button) => button.click())"
    )
    assert violations(axe, page) == []


def test_axe_finds_nothing_on_a_phone(axe: Axe, new_page: Callable[..., Page]) -> None:
    page = new_page(width=390, height=844)
    page.goto("chapters/networks/backpropagation.html")
    assert violations(axe, page) == []


def test_axe_would_find_something(axe: Axe, page: Page) -> None:
    """The test can fail: a picture loses its text."""
    page.goto("chapters/networks/backpropagation.html")
    page.locator(".bd-article img").first.evaluate("(e) => e.removeAttribute('alt')")
    assert any(found.startswith("image-alt") for found in violations(axe, page))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_table_of_differences(
    axe: Axe, new_page: Callable[..., Page], scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    page.goto("chapters/frameworks/rosetta.html")
    page.get_by_label("Words").fill("adam")  # else a minute's work
    assert violations(axe, page) == []
