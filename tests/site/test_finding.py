"""How pages are found and passed on: search, glossary, claims, addresses, previews, sub-paths."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from playwright.sync_api import Page, expect

from tools.contents import chapters, documents, untested
from tools.pdf import SETTLED
from tools.twins import ROOT

BACKPROPAGATION = "chapters/networks/backpropagation.html"
SITE = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["html"]["baseurl"]


# Search


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("backpropagation", "term-backpropagation"),
        ("chain rule", "term-chain-rule"),
        ("反向传播", "反向传播"),
        ("传播", "传播"),  # part of a word
        ("张量", "张量"),
    ],
)
def test_the_search_finds_terms_in_both_languages(page: Page, words: str, first: str) -> None:
    page.goto(f"search.html?q={words}")
    result = page.locator("#search-results li").first
    expect(result).to_be_visible()
    href = result.locator("a").get_attribute("href")
    assert urlsplit(href).path.endswith("reference/glossary.html")
    assert first in (href if first.startswith("term-") else result.text_content())


def test_a_chinese_word_leads_to_its_chapter(page: Page) -> None:
    page.goto("search.html?q=反向传播")
    expect(page.locator(f"#search-results a[href*='{BACKPROPAGATION}']").first).to_be_visible()


# Collected pages


def test_the_glossary_holds_every_term_with_a_link_to_its_chapter(page: Page) -> None:
    page.goto("chapters/reference/glossary.html")
    shown = page.locator(".glossary dt").all_text_contents()
    terms = [(term, c) for c in chapters() for term in c.terms]
    assert len(shown) == 2 * len(terms) > 20
    words = {text.strip().removesuffix("#").strip() for text in shown}
    assert words == {word for term, _ in terms for word in (term.english, term.chinese)}
    for entry, english in zip_longest(
        page.locator(".glossary dd").all(), sorted((t.english for t, _ in terms), key=str.lower)
    ):
        [chapter] = [c for term, c in terms if term.english == english]
        link = entry.locator("a").last
        assert link.get_attribute("href").endswith(f"{chapter.document.split('/', 1)[1]}.html")


def test_the_list_of_claims_leads_to_each_claim(page: Page) -> None:
    page.goto("chapters/reference/claims.html")
    rows = page.locator(".all-claims tbody tr")
    claims = [(claim, c) for c in chapters() for claim in c.claims]
    expect(rows).to_have_count(len(claims))
    for row, (claim, chapter) in zip(rows.all(), claims, strict=True):
        assert claim.verdict in row.locator("td").nth(1).inner_text()
        href = row.locator("a").first.get_attribute("href")
        assert href.endswith(f"{chapter.document.split('/', 1)[1]}.html#claim-{claim.id}")


def test_what_is_untested_is_listed_and_only_that(page: Page) -> None:
    page.goto("chapters/reference/untested.html")
    shown = " ".join(page.locator(".untested-claims td:last-child").all_text_contents()).split()
    left = {claim for ids in untested().values() for claim in ids}
    assert set(shown) - {"·"} == left
    assert not left & {claim.id for c in chapters() for claim in c.claims}
    assert page.locator(".untested-claims p").first.inner_text().startswith(f"{len(left)} claims")


@pytest.mark.parametrize("part", sorted({c.part for c in chapters()} - {"index"}))
def test_a_part_lists_its_chapters_with_a_line_and_a_time(page: Page, part: str) -> None:
    page.goto(f"chapters/{part}/index.html")
    own = [c for c in chapters() if c.part == part]
    assert page.locator(".chapters dt").all_text_contents() == [c.title for c in own]
    for line, chapter in zip(page.locator(".chapters dd").all(), own, strict=True):
        assert line.inner_text() == f"{chapter.description} {chapter.seconds} s"


# The landing page


def test_the_landing_page_shows_three_columns_and_their_agreement(page: Page) -> None:
    page.goto("chapters/index.html")
    page.evaluate(SETTLED)
    panels = page.locator(".three-ways > .sd-tab-content")
    boxes = [panel.bounding_box() for panel in panels.all()]
    assert len(boxes) == 3
    assert len({round(box["y"]) for box in boxes}) == 1
    agreement = page.get_by_text("numpy = tensorflow = torch").first
    box = agreement.bounding_box()
    assert box["y"] + box["height"] <= 900, "the agreement has to be seen without scrolling"
    cards = page.locator(".sd-card a").evaluate_all("(all) => all.map((a) => a.href)")
    parts = {name.split("/")[1] for name in documents() if name.endswith("/index")} - {"index"}
    assert {urlsplit(href).path.split("/")[-2] for href in cards} == parts


def test_the_landing_page_does_not_change_what_was_chosen(page: Page) -> None:
    page.goto("chapters/index.html")
    page.goto(BACKPROPAGATION)
    expect(page.locator("html")).to_have_attribute("data-view", "tabs")


# Addresses


def query(page: Page) -> dict[str, list[str]]:
    """Ask the page itself: Playwright hears of a new address only some time later."""
    return parse_qs(page.evaluate("location.search.slice(1)"))


def test_a_link_shows_what_its_sender_saw(page: Page, new_page: Callable[..., Page]) -> None:
    page.goto(BACKPROPAGATION)
    assert query(page) == {}
    page.locator(".three-ways > label", has_text="PyTorch").first.click()
    assert query(page) == {"framework": ["torch"]}
    page.get_by_role("button", name="Side by side").click()
    assert query(page) == {"framework": ["torch"], "view": ["columns"]}
    other = new_page()  # which remembers nothing
    other.goto(page.evaluate("location.href"))
    expect(other.locator("html")).to_have_attribute("data-view", "columns")
    other.get_by_role("button", name="Side by side").click()
    labels = other.locator(".three-ways > input:checked + label")
    assert "PyTorch" in labels.first.text_content()


def test_what_is_remembered_stands_in_the_address(page: Page) -> None:
    page.goto(f"{BACKPROPAGATION}?framework=torch&view=columns")
    page.goto("chapters/foundations/tensors.html")
    assert query(page) == {"framework": ["torch"], "view": ["columns"]}


def test_columns_begin_together_cell_by_cell(page: Page) -> None:
    page.goto(f"{BACKPROPAGATION}?view=columns")
    page.evaluate(SETTLED)
    tops = page.evaluate(
        """() => [...document.querySelectorAll(".three-ways.ways-3")].map((set) =>
          [...set.querySelectorAll(":scope > .sd-tab-content")].map((way) =>
            [...way.querySelectorAll(".cell")].map((cell) => [".cell_input", ".cell_output"]
              .map((part) => cell.querySelector(part)?.getBoundingClientRect().top ?? null))))"""
    )
    compared = 0
    for ways in tops:
        for cells in zip_longest(*ways):
            for parts in zip(*(cell for cell in cells if cell), strict=True):
                heights = [top for top in parts if top is not None]
                compared += len(heights) > 1
                assert max(heights, default=0) - min(heights, default=0) <= 1
    assert compared >= 5


# Files and sub-paths


def test_the_site_opens_from_a_file(html: Path, page: Page) -> None:
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    # A file may not be preloaded as a font; it is loaded all the same.
    page.context.on(
        "requestfailed", lambda r: None if r.url.endswith(".woff2") else trouble.append(r.url)
    )
    page.goto((html / BACKPROPAGATION).as_uri())
    icons = """async () => (await document.fonts.load('900 16px "Font Awesome 6 Free"')).length"""
    assert page.evaluate(icons) > 0
    page.evaluate(SETTLED)
    page.locator(".three-ways > label", has_text="PyTorch").first.click()
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator("html")).to_have_attribute("data-view", "columns")
    expect(page.locator(".bd-article mjx-container").first).to_be_visible()
    assert trouble == []


def test_the_site_works_below_a_sub_path(html: Path, page: Page, tmp_path: Path, serve) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "where").symlink_to(html)
    trouble: list[str] = []
    page.context.on("response", lambda r: trouble.append(r.url) if r.status >= 400 else None)
    # A request that going to the next page cuts off is none that failed.
    page.context.on(
        "requestfailed",
        lambda r: None if r.failure == "net::ERR_ABORTED" else trouble.append(r.url),
    )
    with serve(tmp_path) as address:
        page.goto(f"{address}some/where/")
        page.wait_for_url("**/some/where/chapters/index.html")
        page.locator(".sd-card").first.click()
        page.wait_for_url("**/some/where/chapters/start/index.html")
        page.goto(f"{address}some/where/search.html?q=张量")
        expect(page.locator("#search-results li a").first).to_be_visible()
    assert trouble == []


# Previews


@pytest.mark.parametrize("name", documents())
def test_a_page_says_what_it_is(html: Path, name: str) -> None:
    page = BeautifulSoup((html / f"{name}.html").read_text("utf-8"), "html.parser")
    assert page.html["lang"] == "en"

    def content(selector: str, attribute: str = "content") -> str:
        (found,) = page.select(selector)
        return found[attribute]

    description = content("meta[name=description]")
    assert 60 <= len(description) <= 160
    assert content("meta[property='og:description']") == description
    heading = page.h1.find(string=True).strip()
    assert content("meta[property='og:title']") == heading
    assert heading in page.title.text
    own = f"{SITE}{name}.html"
    assert content("link[rel=canonical]", "href") == own == content("meta[property='og:url']")
    assert content("meta[property='og:image']").startswith(SITE)


def test_the_sitemap_lists_every_page(html: Path) -> None:
    tree = ET.parse(html / "sitemap.xml")
    listed = {e.text for e in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")}
    assert listed == {f"{SITE}{name}.html" for name in documents()}


def test_a_chapter_says_when_and_with_what_it_was_run(page: Page) -> None:
    page.goto(BACKPROPAGATION)
    line = page.locator(".run-info").inner_text()
    for word in ("s after the imports", "x86_64", "NumPy 2", "TensorFlow 2", "PyTorch 2"):
        assert word in line


def test_differences_are_chosen_by_topic_and_words(page: Page) -> None:
    rows = {c.title.removeprefix("Rosetta: "): c.differences for c in chapters()}
    everything = sum(map(len, rows.values()))
    page.goto("chapters/frameworks/rosetta.html")
    shown, table = (
        page.locator(".all-differences tbody tr:visible"),
        page.locator(".all-differences"),
    )
    expect(shown).to_have_count(everything)
    page.get_by_label("Topic").select_option("losses")
    expect(shown).to_have_count(len(rows["losses"]))
    expect(table.locator("output")).to_have_text(f"{len(rows['losses'])} of {everything}")
    page.get_by_label("Topic").select_option("all")
    page.get_by_label("Words").fill("torch.optim.adam EPSILON")  # of either framework, in any case
    assert 0 < shown.count() < 20
    shown.get_by_text("Adam: where ε stands").click()
    expect(page).to_have_url(re.compile(r"rosetta-optimizers\.html#rosetta-adam-epsilon$"))
    expect(page.get_by_role("heading", name="Adam: where ε stands")).to_be_in_viewport()
