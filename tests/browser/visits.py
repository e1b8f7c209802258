"""A visit to a page in a real browser: what it says, what it asks for, and what it looks like."""

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = {"wide": 1280, "narrow": 400}
THEMES = ("light", "dark")
SCREENSHOTS = "KPIG_SCREENSHOTS"
"""The environment variable that names the folder for pictures of the pages; without it none are kept."""

HOSTILE = (
    "<script>document.title='run'</script>",
    "</script><img src=x onerror=document.title='run'>",
    "<a href=\"javascript:document.title='run'\" onclick=\"document.title='run'\">x</a>",
    "{{ 7*7 }} ${7*7} `x`",
    "\u202egnol\u202c \u2066\u061c right to left",
    "\x00\x1b[31m\x07 control\x7f",
    "half \ud800 pair",
    "מימין לשמאל and العربية",
    "long " + "w" * 5000,
    "'\"&<>]]><!--",
)


def browser_path() -> str | None:
    """Where a browser is; KPIG_BROWSER names another one."""
    return os.environ.get("KPIG_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)


@dataclass
class Visit:
    """An open page, and what was noted from its first moment on."""

    page: object
    path: Path
    told: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    def watch(self) -> "Visit":
        self.page.on("console", lambda one: self.told.append((one.type, one.text)))
        self.page.on("pageerror", lambda one: self.told.append(("error", str(one))))
        self.page.on("request", lambda one: self.asked.append(one.url))
        return self

    @property
    def errors(self) -> list:
        return [text for kind, text in self.told if kind in ("error", "warning")]

    def check(self) -> None:
        """The laws of every page: no error, no request but for the page itself, nothing run from data."""
        assert self.errors == []
        assert self.asked == [self.path.as_uri()]
        assert self.page.title() != "run"

    def until(self, condition: str, seconds: float = 20) -> None:
        """Wait for a JavaScript expression; playwright's own way evaluates text, which the policy forbids."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}"
            self.page.wait_for_timeout(50)

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")

    def picture(self, name: str, full: bool = True) -> None:
        """Keep a picture where CI asks for them."""
        if folder := os.environ.get(SCREENSHOTS):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=full)
