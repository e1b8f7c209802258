"""What the server answers: the list of runs, how far they are, a run's report, the comparison."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpig import pages
from kpig.errors import KpigError
from kpig.view.build import Builder, comparison_page, run_page
from kpig.view.guard import Guard
from kpig.view.shelf import Progress, Shelf

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

FRAMED = "frame-ancestors 'self'; connect-src 'none'; form-action 'none'; object-src 'none'; base-uri 'none'"
"""Of a report or a comparison, beside its own policy: the page around it shows it; it asks for nothing."""

SANDBOXED = f"sandbox allow-scripts; {FRAMED}"
"""Of a page that lay in a folder: whoever wrote it, it is a stranger to the server's other pages."""

FRAMING = "frame-ancestors 'none'"
"""Of the list and the page around a report, beside their own policies."""


def application(roots: Sequence[Path], token: str, hosts: Sequence[str]) -> "ASGIApp":
    """The server's ASGI application, with its guard before it."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    answers = Answers(Shelf(roots), Builder())
    routes = {
        "/": answers.index,
        "/compare/": answers.around_comparison,
        "/compare/page": answers.comparison,
        "/run/{number:int}/": answers.around_run,
        "/run/{number:int}/page": answers.run,
        "/saved/{number:int}/": answers.around_saved,
        "/saved/{number:int}/page": answers.saved,
    }
    app = Starlette(routes=[Route(f"/{token}{path}", answer) for path, answer in routes.items()])
    app.router.redirect_slashes = False
    return Guard(app, token, hosts)


class Answers:
    """An answer for each route. Starlette calls them in threads: one that builds holds up no other."""

    def __init__(self, shelf: Shelf, builder: Builder):
        self.shelf, self.builder = shelf, builder

    def index(self, request: "Request") -> "Response":
        """The list of runs."""
        rows = [self.shelf.state(run) for run in self.shelf.runs()]
        shown = {
            "rows": rows,
            "num_more": self.shelf.num_more,
            "num_finished": sum(row.word == "finished" for row in rows),
            "roots": list(map(str, self.shelf.roots)),
            "saved": list(map(str, self.shelf.saved())),
        }
        return _page("view/index.html.j2", shown)

    def around_run(self, request: "Request") -> "Response":
        """The page around a run's report, which says how far it is."""
        run = self.shelf.run(request.path_params["number"])
        if run is None:
            return _nothing()
        return _page("view/around.html.j2", {"row": self.shelf.state(run), "top": "../../"})

    def run(self, request: "Request") -> "Response":
        """A run's report."""
        run = self.shelf.run(request.path_params["number"])
        return _nothing() if run is None else _built(lambda: run_page(self.builder, run))

    def around_comparison(self, request: "Request") -> "Response":
        """The page around the comparison, which comes anew when another run is finished."""
        finished = [self.shelf.state(run).stamp for run in self.shelf.runs() if run.is_finished]
        row = Progress(0, "Comparison", "-".join(finished), f"{len(finished)} finished runs")
        return _page("view/around.html.j2", {"row": row, "top": "../"})

    def comparison(self, request: "Request") -> "Response":
        """The comparison of all finished runs."""
        return _built(lambda: comparison_page(self.builder, self.shelf.runs()))

    def around_saved(self, request: "Request") -> "Response":
        """The page around one that lay in a folder."""
        path = self._saved(request)
        if path is None:
            return _nothing()
        row = Progress(0, str(path), str(path.stat().st_mtime_ns), "as it was written")
        return _page("view/around.html.j2", {"row": row, "top": "../../"})

    def saved(self, request: "Request") -> "Response":
        """A page that lay in a folder."""
        from starlette.responses import HTMLResponse

        path = self._saved(request)
        if path is None:
            return _nothing()
        return HTMLResponse(path.read_bytes(), headers={"Content-Security-Policy": SANDBOXED})

    def _saved(self, request: "Request") -> Path | None:
        return dict(enumerate(self.shelf.saved())).get(request.path_params["number"])


def _page(template: str, values: Mapping[str, Any]) -> "Response":
    from starlette.responses import HTMLResponse

    text = pages.render(
        template,
        values,
        styles=("view/view.css",),
        scripts=("view/view.js",),
        libraries=(),
        own=("connect", "frame"),
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": FRAMING})


def _built(make: Callable[[], str]) -> "Response":
    """A report or comparison, or why there is none."""
    from starlette.responses import HTMLResponse

    status = 200
    try:
        text = make()
    except KpigError as error:
        status, text = 422, pages.render("view/problem.html.j2", {"words": str(error)}, libraries=())
    return HTMLResponse(text, status, headers={"Content-Security-Policy": FRAMED})


def _nothing() -> "Response":
    from starlette.responses import Response

    return Response(status_code=404)
