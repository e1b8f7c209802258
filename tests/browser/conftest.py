"""One headless browser for all tests of pages; they are skipped where there is none."""

import pytest

from browser.visits import ARGUMENTS, WIDTHS, Visit, browser_path


@pytest.fixture(scope="session")
def browser():
    """Chromium with a profile of its own, which is gone afterwards."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = browser_path()
    if path is None:
        pytest.skip("no browser here: install chromium, or name one in KPIG_BROWSER")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Open a file in a fresh context: `visit(path, "narrow", "dark")`. Its laws are checked in the end."""
    visits = []

    def opened(path, width="wide", theme="light"):
        context = browser.new_context(
            viewport={"width": WIDTHS[width], "height": 800}, color_scheme=theme, reduced_motion="reduce"
        )
        context.set_default_timeout(20_000)
        one = Visit(context.new_page(), path).watch()
        one.page.goto(path.as_uri())
        visits.append(one)
        return one

    yield opened
    for one in visits:
        one.check()
        one.page.context.close()
