"""The Content-Security-Policy of a page: it may run and wear what it was written with, and reach nothing.

Source: W3C, Content Security Policy Level 3, hashes of inline scripts and styles.
"""

import base64
import hashlib
from collections.abc import Iterable

NO_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""An empty style sheet, which plotly.js makes and then fills by script."""


def policy(scripts: Iterable[str], styles: Iterable[str], own: Iterable[str] = ()) -> str:
    """A policy under which these texts alone are scripts and style sheets, and nothing is fetched or sent.

    `own` are kinds of requests, such as "connect", that may go to the page's own server; a file has none.

    A style on an element and an image within the page are allowed: plotly.js draws with both, and neither
    runs anything nor fetches.
    """
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src", *map(_source, scripts))),
            " ".join(("style-src", *map(_source, styles), NO_STYLE)),
            "style-src-attr 'unsafe-inline'",
            "img-src data:",
            *(f"{kind}-src 'self'" for kind in own),
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
