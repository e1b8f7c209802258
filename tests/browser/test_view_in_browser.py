"""`kpig view` in a real browser: what goes on is shown as it goes on, and nobody else is asked."""

import pytest

import test_view
from browser.contrast import faint_texts
from browser.visits import WIDTHS, Visit

runs, started = test_view.runs, test_view.started


@pytest.fixture
def window(browser):
    """Open a URL in a fresh context: `window(url)`; what it told and asked for is kept."""
    contexts = []

    def opened(url, width="wide"):
        contexts.append(browser.new_context(viewport={"width": WIDTHS[width], "height": 800}))
        contexts[-1].set_default_timeout(60_000)
        one = Visit(contexts[-1].new_page(), None).watch()
        one.page.goto(url)
        return one

    yield opened
    for context in contexts:
        context.close()


def url_of(client, path=""):
    return f"http://127.0.0.1:{client.port}/{client.token}/{path}"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_list_follows_a_run_in_place_and_keeps_the_focus(window, runs, started, width):
    client = started(runs)
    one = window(url_of(client), width)
    one.page.focus("text=runs/going")
    test_view.step_done(runs / "going", 1)
    one.until("[...document.querySelectorAll('#live tr')].some((row) => row.innerText.includes('1 of 3'))")
    assert one.page.evaluate("document.activeElement.innerText") == "runs/going"
    assert one.overflow() <= 0 and one.errors == [] and faint_texts(one.page) == []
    assert all(url.startswith(url_of(client)) for url in one.asked)
    one.picture(f"view-list-{width}")


def test_a_report_comes_anew_when_a_step_is_done_and_stays_where_it_was_read(window, runs, started):
    client = started(runs)
    number = test_view.numbers(client.get("/")[2])["runs/going"]
    one = window(url_of(client, f"run/{number}/"))
    frame = "document.getElementById('shown')"
    one.until(
        f"{frame}.contentDocument?.readyState === 'complete' && {frame}.contentWindow.innerHeight > 300"
    )
    one.page.evaluate(f"{frame}.contentWindow.scrollTo(0, 300)")
    test_view.step_done(runs / "going", 1)
    one.until(f"{frame}.src.includes('at=')", 60)
    one.until(
        f"{frame}.contentDocument?.readyState === 'complete' && {frame}.contentWindow.scrollY === 300", 60
    )
    assert "1 of 3 steps" in one.page.inner_text("#live")
    assert "on the tasks it learned" in one.page.frame_locator("#shown").locator("#content").inner_text()
    assert one.errors == [] and all(url.startswith(url_of(client)) for url in one.asked)
    one.picture("view-run", full=False)


def test_the_comparison_works_within_the_server_and_a_saved_page_is_shut_in(window, runs, started, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "compare.html").write_text(
        "<title>saved</title><p id=x>kept</p><script>"
        "document.getElementById('x').textContent = window.origin;"
        "try { parent.document.title = 'run' } catch { document.title = 'shut in' }</script>"
    )
    client = started(runs, folder)
    one = window(url_of(client, "compare/"))
    frame = "document.getElementById('shown')"
    one.until(f"{frame}.contentDocument?.documentElement.dataset.ready === 'yes'", 60)
    assert one.errors == []
    two = window(url_of(client, "saved/0/"))
    shown = two.page.frame_locator("#shown").locator("#x")
    shown.wait_for()
    assert shown.inner_text() == "null" and two.page.title() != "run"


def test_a_server_that_has_stopped_is_said(window, runs, started):
    client = started(runs)
    one = window(url_of(client))
    assert one.page.is_hidden("#lost")
    test_view.stop(client)
    one.until("!document.getElementById('lost').hidden", 60)
    one.page.wait_for_timeout(100)
    assert "runs/going" in one.page.inner_text("#live")
