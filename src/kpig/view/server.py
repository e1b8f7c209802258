"""The server itself: on 127.0.0.1 only, with a token of its own, until it is stopped."""

import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kpig.errors import RunError, UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from uvicorn import Server

ADDRESS = "127.0.0.1"
MOST_AT_ONCE = 32
"""Connections. Chosen: a browser opens six."""

MISSING = "kpig view needs starlette and uvicorn; install them with: pip install 'kpig[view]'"


def serve(roots: Sequence[Path], port: int, tell: Callable[[str], None]) -> None:
    """Show the runs at or under the folders until the process is asked to stop; `tell` is given the URL.

    `port` 0 takes a free one. Raises RunError for a folder that is not there and a port that is taken, and
    UsageError where the packages of the extra "view" are missing.
    """
    for root in roots:
        if not root.is_dir():
            raise RunError(f"{root}: there is no such folder; give run folders, or folders that hold some")
    token = secrets.token_urlsafe(32)
    with _listening(port) as listening:
        taken = listening.getsockname()[1]
        server = _server(roots, token, [f"{name}:{taken}" for name in (ADDRESS, "localhost")])
        tell(f"http://{ADDRESS}:{taken}/{token}/")
        server.run([listening])


def _listening(port: int) -> socket.socket:
    """A socket on this machine's own address alone. RunError where the port cannot be had."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((ADDRESS, port))
        found.listen()
    except OSError as error:
        found.close()
        raise RunError(
            f"port {port} of {ADDRESS} cannot be had ({error.strerror or error}); give --port another one, "
            "or 0 for any that is free"
        ) from error
    return found


def _server(roots: Sequence[Path], token: str, hosts: Sequence[str]) -> "Server":
    """A server that logs no URL, for it holds the token, and tells nobody what it is."""
    try:
        import uvicorn

        from kpig.view.app import application

        app: ASGIApp = application(roots, token, hosts)
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise UsageError(MISSING) from error
    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_AT_ONCE,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
    )
