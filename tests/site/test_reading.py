"""What a reader meets: tabs, columns, keyboard, phone, paper, and nothing from elsewhere."""

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tools.pdf import SETTLED
from tools.twins import ROOT

TENSORS = "chapters/foundations/tensors.html"
BACKPROPAGATION = "chapters/networks/backpropagation.html"
FRAMEWORKS = ["NumPy", "TensorFlow", "PyTorch"]
VERDICTS = {"holds", "refined", "refuted"}
OVERLAP = 3  # pixels: sphinx-design lays a label's lower border over the panel's upper one


def documents(node: object) -> Iterator[str]:
    """Yield the documents that a table of contents names, at whatever depth."""
    if isinstance(node, list):
        for part in node:
            yield from documents(part)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("root", "file"):
                yield value
            else:
                yield from documents(value)


TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
CHAPTERS = [f"{name}.html" for name in documents(TOC)]
PAGES = [*CHAPTERS, "index.html", "search.html", "genindex.html"]

with_tabs = pytest.mark.parametrize("path", [TENSORS, BACKPROPAGATION])

# Every tab set as a list of its ways, in the order of the page.
SETS = """() => [...document.querySelectorAll(".three-ways")].map((set) =>
  [...set.querySelectorAll(":scope > label")].map((label) => {
    const box = (e) => {
      const { left, right, top, bottom, width, height } = e.getBoundingClientRect();
      return { left, right, top, bottom, visible: e.checkVisibility() && width * height > 0 };
    };
    return {
      name: label.textContent.trim(),
      chosen: label.previousElementSibling.checked,
      label: box(label),
      panel: box(label.nextElementSibling),
    };
  }))"""

# The text of an article that a reader sees, code and set formulas left out.
PROSE = """() => {
  const walker = document.createTreeWalker(
    document.querySelector(".bd-article"), NodeFilter.SHOW_TEXT,
    (node) => node.parentElement.closest("pre, code, script, style, mjx-container")
      ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  let text = "";
  while (walker.nextNode()) text += walker.currentNode.data;
  return text;
}"""

SOLUTION_BUTTONS = ".solution > .admonition-title .toggle-button"


def sets(page: Page) -> list[list[dict]]:
    return page.evaluate(SETS)


def open_page(page: Page, address: str) -> None:
    """Open an address with all its solutions, so that no tab set is hidden in one."""
    page.goto(address)
    open_solutions(page)


def open_solutions(page: Page) -> None:
    page.evaluate(
        f"""() => document.querySelectorAll("{SOLUTION_BUTTONS}[aria-expanded=false]")
        .forEach((button) => button.click())"""
    )


def settle(page: Page) -> None:
    """Wait until formulas are set and fonts are here."""
    page.evaluate(SETTLED)


def assert_tabs(found: list[list[dict]], framework: str) -> None:
    """Check that each set shows one panel, the framework's wherever there is one."""
    assert found
    for ways in found:
        names = [way["name"] for way in ways]
        [chosen] = [way["name"] for way in ways if way["chosen"]]
        assert [way["name"] for way in ways if way["panel"]["visible"]] == [chosen]
        assert all(way["label"]["visible"] for way in ways)
        assert chosen == (framework if framework in names else names[0])


def assert_columns(found: list[list[dict]]) -> None:
    """Check that each set shows all its panels abreast, each below its label."""
    assert found
    for ways in found:
        assert all(way["label"]["visible"] and way["panel"]["visible"] for way in ways)
        for way in ways:
            assert way["label"]["left"] == pytest.approx(way["panel"]["left"], abs=1)
            assert way["label"]["bottom"] <= way["panel"]["top"] + OVERLAP
        for left, right in pairwise(way["panel"] for way in ways):
            assert right["top"] == pytest.approx(left["top"], abs=1)
            assert right["left"] >= left["right"]


def assert_page_fits(page: Page) -> None:
    wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window


def focus_lines(page: Page, selector: str) -> int:
    """Count the lines around an element that can show the focus: outline, inner border."""
    return page.locator(selector).first.evaluate(
        """(e) => {
          const own = getComputedStyle(e), before = getComputedStyle(e, "::before");
          return (own.outlineStyle !== "none" && parseFloat(own.outlineWidth) >= 1)
            + (before.borderTopStyle !== "none" && parseFloat(before.borderTopWidth) >= 1);
        }"""
    )


def tab_to(page: Page, selector: str, frame: str) -> None:
    """Press Tab until the focus is on what the selector matches, and the frame shows it."""
    assert focus_lines(page, frame) == 0
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            break
    else:
        pytest.fail(f"the focus was never on {selector}")
    assert focus_lines(page, frame) > 0, f"nothing shows that the focus is on {selector}"


# Tabs


@with_tabs
def test_one_choice_switches_every_tab_set(page: Page, path: str) -> None:
    open_page(page, path)
    assert [way["name"] for way in sets(page)[0]] == FRAMEWORKS
    assert_tabs(sets(page), "NumPy")
    page.locator(".three-ways > label", has_text="PyTorch").first.click()
    assert_tabs(sets(page), "PyTorch")


def test_the_choice_is_remembered(page: Page) -> None:
    page.goto(TENSORS)
    page.locator(".three-ways > label", has_text="PyTorch").nth(1).click()
    page.reload()
    open_solutions(page)
    assert_tabs(sets(page), "PyTorch")
    other = page.context.new_page()
    open_page(other, BACKPROPAGATION)
    assert_tabs(sets(other), "PyTorch")


def test_an_address_chooses_the_framework(page: Page) -> None:
    open_page(page, f"{BACKPROPAGATION}?framework=torch")
    assert_tabs(sets(page), "PyTorch")


# Columns


def switch(page: Page) -> Locator:
    return page.get_by_role("button", name="Side by side")


@with_tabs
def test_the_switch_shows_all_frameworks_abreast(page: Page, path: str) -> None:
    open_page(page, path)
    button = switch(page)
    expect(button).to_have_attribute("aria-pressed", "false")
    assert button.evaluate("(e) => e instanceof HTMLButtonElement && e.type === 'button'")
    bars = page.locator(".bd-sidebar-primary, .bd-sidebar-secondary")
    assert [bar.is_visible() for bar in bars.all()] == [True, True]

    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert_columns(sets(page))
    assert any(len(ways) == 3 for ways in sets(page))
    assert [bar.is_visible() for bar in bars.all()] == [False, False]
    assert_page_fits(page)

    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert_tabs(sets(page), "NumPy")
    assert [bar.is_visible() for bar in bars.all()] == [True, True]


def test_the_view_is_remembered(page: Page) -> None:
    page.goto(TENSORS)
    switch(page).click()
    page.reload()
    expect(switch(page)).to_have_attribute("aria-pressed", "true")
    assert_columns(sets(page)[:1])
    other = page.context.new_page()
    open_page(other, BACKPROPAGATION)
    assert_columns(sets(other))
    switch(other).click()
    other.goto(TENSORS)
    expect(switch(other)).to_have_attribute("aria-pressed", "false")


def test_the_switch_keeps_the_readers_place(page: Page) -> None:
    page.goto(TENSORS)
    settle(page)
    for place in ("#claim-topk-order", "#ex-tensors-gather-gradient"):
        read = page.locator(place)
        read.evaluate("(e) => scrollBy(0, e.getBoundingClientRect().top - 120)")
        for pressed in ("true", "false"):
            box = switch(page).bounding_box()
            # Not Playwright's click, which would scroll first.
            page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            expect(switch(page)).to_have_attribute("aria-pressed", pressed)
            top = read.evaluate("(e) => e.getBoundingClientRect().top")
            assert top == pytest.approx(120, abs=2)


# Every chapter, opened once and looked at in several ways


@pytest.fixture(scope="module")
def context(browser: Browser, address: str, patience: int) -> Iterator[BrowserContext]:
    with browser.new_context(base_url=address, reduced_motion="reduce") as context:
        context.set_default_timeout(patience)
        yield context


@pytest.fixture(scope="module", params=CHAPTERS)
def chapter(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[tuple[str, Page]]:
    """Return a chapter's path and the chapter, where columns were once asked for."""
    with context.new_page() as page:
        open_page(page, f"{request.param}?view=columns")
        settle(page)
        yield request.param, page


@pytest.mark.every_page
def test_columns_hold_the_code(chapter: tuple[str, Page]) -> None:
    """At 1600 pixels nothing has to be scrolled sideways, in columns or around them."""
    path, page = chapter
    page.set_viewport_size({"width": 1600, "height": 900})
    assert_page_fits(page)
    if path in (TENSORS, BACKPROPAGATION):
        assert_columns(sets(page))
    too_wide = page.evaluate(
        """() => [...document.querySelectorAll(".three-ways.ways-3 .cell_input pre")]
          .filter((e) => e.clientWidth === 0 || e.scrollWidth > e.clientWidth + 1)
          .map((e) => [e.scrollWidth, e.clientWidth, e.innerText])"""
    )
    assert too_wide == []


@pytest.mark.every_page
def test_a_phone_shows_tabs(chapter: tuple[str, Page]) -> None:
    path, page = chapter
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("localStorage.getItem('three-ways-view')") == "columns"
    assert_page_fits(page)
    if path in (TENSORS, BACKPROPAGATION):
        assert_tabs(sets(page), "NumPy")
        expect(page.locator(".view-switch")).to_have_count(1)
        expect(page.locator(".view-switch")).to_be_hidden()


@pytest.mark.every_page
def test_formulas_are_set(chapter: tuple[str, Page]) -> None:
    path, page = chapter
    rendered = page.locator(".bd-article mjx-container").count()
    assert rendered >= page.locator(".bd-article .math").count()
    assert rendered > 0 or path != BACKPROPAGATION
    expect(page.locator(".bd-article mjx-merror")).to_have_count(0)
    prose = page.evaluate(PROSE)
    assert prose.strip()
    assert [mark for mark in (r"\(", r"\[", "$$") if mark in prose] == []


@pytest.mark.every_page
def test_pictures_are_shown_and_described(chapter: tuple[str, Page]) -> None:
    path, page = chapter
    pictures = page.locator(".bd-article img").evaluate_all(
        "(all) => all.map((e) => [e.alt.trim(), e.naturalWidth, e.getAttribute('src')])"
    )
    assert pictures or path != BACKPROPAGATION
    assert [src for alt, _, src in pictures if not alt] == []
    assert [src for _, width, src in pictures if not width] == []


CONTRAST = """async (e) => {
  await Promise.allSettled(e.getAnimations().map((fade) => fade.finished));
  const style = getComputedStyle(e);
  const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const [a, b] = [light(style.color), light(style.backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pressed_switch_can_be_read(new_page: Callable[..., Page], scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    page.goto(f"{BACKPROPAGATION}?view=columns")
    assert switch(page).evaluate(CONTRAST) >= 4.5
    switch(page).hover()
    assert switch(page).evaluate(CONTRAST) >= 4.5


def test_columns_offer_no_button_for_the_hidden_contents(page: Page) -> None:
    page.goto(BACKPROPAGATION)
    contents = page.locator(".bd-header-article .primary-toggle")
    expect(contents).to_be_visible()
    switch(page).click()
    expect(contents).to_be_hidden()


# Keyboard


def test_arrow_keys_choose_a_tab(page: Page) -> None:
    page.goto(TENSORS)
    tab_to(page, ".three-ways > input", ".three-ways > label.way-numpy")
    page.keyboard.press("ArrowRight")
    assert focus_lines(page, ".three-ways > label.way-tensorflow") > 0
    assert_tabs(sets(page)[:1], "TensorFlow")


def test_formulas_are_no_stops_of_the_tab_key_and_can_be_heard(page: Page) -> None:
    page.goto(BACKPROPAGATION)
    settle(page)
    assert page.locator("mjx-container").count() > 50
    expect(page.locator("mjx-container[tabindex]")).to_have_count(0)
    heard = page.locator("mjx-container mjx-assistive-mml").count()
    assert heard == page.locator("mjx-container").count()


def test_keys_press_the_switch(page: Page) -> None:
    page.goto(TENSORS)
    tab_to(page, ".view-switch", ".view-switch")
    page.keyboard.press("Enter")
    expect(switch(page)).to_have_attribute("aria-pressed", "true")
    expect(switch(page)).to_be_focused()
    page.keyboard.press("Space")
    expect(switch(page)).to_have_attribute("aria-pressed", "false")


def test_keys_open_a_solution(page: Page) -> None:
    page.goto(f"{TENSORS}#exercises")
    content = page.locator(".solution > section").first
    expect(content).to_be_hidden()
    tab_to(page, SOLUTION_BUTTONS, ".solution > .admonition-title")
    page.keyboard.press("Enter")
    expect(content).to_be_visible()
    expect(page.locator(SOLUTION_BUTTONS).first).to_have_attribute("aria-expanded", "true")


# Without JavaScript, and on paper


def assert_below_each_other(found: list[list[dict]]) -> None:
    """Check that each set shows label, panel, label, panel, … from top to bottom."""
    assert found
    for ways in found:
        boxes = [box for way in ways for box in (way["label"], way["panel"])]
        assert all(box["visible"] for box in boxes)
        for upper, lower in pairwise(boxes):
            assert upper["bottom"] <= lower["top"] + OVERLAP


@with_tabs
def test_without_javascript_all_panels_are_there(new_page: Callable[..., Page], path: str) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(path)
    assert_below_each_other(sets(page))
    expect(page.locator(".view-switch")).to_have_count(0)


def test_on_paper_all_panels_are_there(page: Page) -> None:
    open_page(page, BACKPROPAGATION)
    for view in ("tabs", "columns"):
        expect(page.locator("html")).to_have_attribute("data-view", view)
        page.set_viewport_size({"width": 700, "height": 1000})  # A4's text width, about
        page.emulate_media(media="print")
        assert_below_each_other(sets(page))
        page.emulate_media(media="screen")
        page.set_viewport_size({"width": 1600, "height": 900})
        switch(page).click()


# Pages


@pytest.mark.every_page
@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_from_here_alone(
    new_page: Callable[..., Page], address: str, path: str
) -> None:
    trouble: list[str] = []

    def note(bad: bool, what: str) -> None:
        if bad:
            trouble.append(what)

    local = (address, "data:", "blob:")
    light = new_page()
    context = light.context
    context.on("request", lambda r: note(not r.url.startswith(local), f"asks for {r.url}"))
    context.on("requestfailed", lambda r: note(True, f"does not get {r.url}: {r.failure}"))
    context.on("response", lambda r: note(r.status >= 400, f"{r.status} for {r.url}"))
    context.on("console", lambda m: note(m.type == "error", f"logs {m.text} at {m.location}"))
    context.on("weberror", lambda e: note(True, f"raises {e.error}"))
    # A page of its own for each: going elsewhere would cut off what still loads.
    for page, scheme in ((light, "light"), (context.new_page(), "dark")):
        page.emulate_media(color_scheme=scheme)
        page.goto(path)
        if path == "index.html":
            page.wait_for_url("**/chapters/index.html")
        settle(page)
        assert trouble == [], scheme
        expect(page.locator("html")).to_have_attribute("data-theme", scheme)


def test_the_search_finds_a_chapter(page: Page) -> None:
    page.goto("search.html?q=backpropagation")
    expect(page.locator(f"#search-results a[href*='{BACKPROPAGATION}']").first).to_be_visible()


def test_each_claim_says_its_verdict(page: Page) -> None:
    page.goto(TENSORS)
    claims = page.locator(".admonition.claim")
    expect(claims).to_have_count(5)
    for claim in claims.all():
        assert claim.get_attribute("id").startswith("claim-")
        title = claim.locator("> .admonition-title")
        expect(title).to_be_visible()
        [verdict] = VERDICTS & set(title.inner_text().split())
        expect(claim).to_contain_class(f"claim-{verdict}")


# Links


class Links(HTMLParser):
    """What a page links to, what it loads, which anchors it has, where solutions point."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.solutions: list[str | None] = []
        self.in_solution_title = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = dict(attrs)
        classes = (at.get("class") or "").split()
        self.anchors.update(at[key] for key in ("id", "name") if at.get(key))
        if tag == "a" and "href" in at:
            self.links.append(at["href"] or "")
            if self.in_solution_title:
                self.solutions[-1] = at["href"]
        elif tag == "link" and at.get("rel") != "canonical":
            self.loaded.append(at["href"])
        elif at.get("src"):
            self.loaded.append(at["src"])
        if tag == "div" and "solution" in classes:
            self.solutions.append(None)
        elif tag == "p" and "admonition-title" in classes:
            self.in_solution_title = self.solutions[-1:] == [None]

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self.in_solution_title = False


@pytest.fixture(scope="module")
def parsed(html: Path) -> dict[str, Links]:
    return {path: Links(html / path) for path in PAGES}


def test_every_link_within_the_site_leads_somewhere(html: Path, parsed: dict[str, Links]) -> None:
    dead, followed = [], 0
    for path, page in parsed.items():
        for link in page.links + page.loaded:
            target = urlsplit(urljoin(path, link))
            if target.scheme or target.netloc:
                continue
            followed += 1
            file, anchor = unquote(target.path), unquote(target.fragment)
            if file in parsed:
                found = not anchor or anchor in parsed[file].anchors
            else:
                found = (html / file).is_file()
            if not found:
                dead.append(f"{path}: {link}")
    assert dead == []
    assert followed > len(PAGES)


def test_pages_name_nothing_to_load_from_elsewhere(parsed: dict[str, Links]) -> None:
    loaded = [(path, link) for path, page in parsed.items() for link in page.loaded]
    assert loaded
    assert [(path, link) for path, link in loaded if urlsplit(link).netloc] == []


def test_every_solution_links_to_its_exercise(parsed: dict[str, Links]) -> None:
    for path, page in parsed.items():
        for link in page.solutions:
            assert link is not None, path
            assert link.startswith("#"), (path, link)
            assert link[1:] in page.anchors, (path, link)
    assert parsed[TENSORS].solutions
    assert parsed[BACKPROPAGATION].solutions
