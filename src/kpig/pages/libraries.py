"""Libraries of JavaScript that a page brings along, as packages from PyPI ship them.

A page is mailed, moved and kept for years, so it carries them itself, compressed: plotly.js takes 2.0 MB of a
page instead of 4.8. The page unpacks one when it is first needed.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from kpig.errors import KpigError
from kpig.pages.packing import packed

MAP_STYLES = re.compile(r"'\.maplibregl-map\{[^']*'")
"""The style sheet for maps in plotly.js, of 83 kB: no page draws any, and no policy of ours allows it."""

EXPORTS = re.compile(r"export\s*\{([^{}]*)\}\s*;?")


@dataclass(frozen=True)
class Library:
    """The code of a library, as it is run (`code`) and as it travels (`content`)."""

    name: str
    code: str
    content: str


@lru_cache
def plotly() -> Library:
    """plotly.js, which draws `kpig.plot`: the global `Plotly`."""
    return _library("plotly", MAP_STYLES.sub("''", _read("plotly", "package_data/plotly.min.js")))


@lru_cache
def tables() -> Library:
    """DataTables, which sorts `table.sortable`: the global `DataTable`.

    itables ships it as a module without imports, which becomes a script: no policy allows a module by hash.
    """
    return _library("tables", _as_global(_read("itables", "html/dt_bundle.js"), "default", "DataTable"))


def _library(name: str, code: str) -> Library:
    return Library(name, code, packed(code))


def _read(package: str, name: str) -> str:
    """A file that an installed package ships, without importing the package."""
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = next((path for folder in folders if (path := Path(folder) / name).is_file()), None)
    if path is None:
        raise KpigError(
            f"the package {package} has no {name}; install it anew: pip install --upgrade {package}"
        )
    return path.read_text(encoding="utf-8")


def _as_global(module: str, exported: str, name: str) -> str:
    """A module's code as a script that sets a global name to one of the exports."""
    listed = list(EXPORTS.finditer(module))
    found = listed and re.search(rf"([\w$]+)\s+as\s+{exported}\b", listed[-1][1])
    if not found:
        raise KpigError("this version of itables keeps DataTables in another form; install itables==2.9.1")
    place = listed[-1]
    code = module[: place.start()]
    return f'(() => {{"use strict";{code};globalThis.{name}={found[1]};}})();'
