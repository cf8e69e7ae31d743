"""The built site, served on this machine, and a Chromium to read it with."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

# Milliseconds after which something hangs. Whatever is waited for comes, in its time, also beside
# other jobs on a slow machine.
PATIENCE = 300_000
expect.set_options(timeout=PATIENCE)

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No other host can be reached, so that a page that asks for one fails everywhere.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


# What looks at every page in a browser looks at these: one of each kind, and the widest ones.
# CI, with PAGES=all, looks at all of them.
SAMPLE = (
    "index",
    "search",
    "genindex",
    "chapters/index",
    "chapters/start/reading-this-book",
    "chapters/foundations/tensors",
    "chapters/networks/index",
    "chapters/networks/backpropagation",
    "chapters/frameworks/rosetta",
    "chapters/frameworks/rosetta-optimizers",
    "chapters/reference/claims",
    "chapters/reference/glossary",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the pages beyond the sample of what is marked ``every_page``."""
    if os.environ.get("PAGES") == "all":
        return
    kept, left = [], []
    for item in items:
        many = item.get_closest_marker("every_page")
        page = next(iter(item.callspec.params.values())) if many else ""
        (left if many and page.removesuffix(".html") not in SAMPLE else kept).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/favicon.ico":
            # Browsers ask for it where a page names no icon, as the redirecting index does.
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "max-age=3600")  # within a context, that is
        super().end_headers()

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a page that is closed early hangs up."""


@pytest.fixture(scope="session")
def patience() -> int:
    """Return the milliseconds after which something hangs."""
    return PATIENCE


@pytest.fixture(scope="session")
def html(site) -> Path:
    """Return the folder of the built site."""
    assert site.status == 0, site.log
    return site.html


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder and give its address, which ends in a slash."""
    with Server(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def serve() -> Callable[[Path], AbstractContextManager[str]]:
    """Return what serves a folder."""
    return serving


@pytest.fixture(scope="session")
def address(html: Path) -> Iterator[str]:
    """Serve the site and return its address, which ends in a slash."""
    with serving(html) as address:
        yield address


# Not for the session: while Playwright runs, its event loop is the thread's,
# and the notebooks that the same worker may test next need their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"no Chromium found; install it, as one of {', '.join(NAMES)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page in a fresh context, with options of its own."""
    contexts = []

    def make(width: int = 1600, height: int = 900, **options: object) -> Page:
        context = browser.new_context(
            base_url=address,
            viewport={"width": width, "height": height},
            reduced_motion="reduce",
            **options,
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """Return a page as wide as a desktop's, which remembers nothing."""
    return new_page()
