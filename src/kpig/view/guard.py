"""Who may ask what: this machine, with the token, by reading. Everything else is answered with a refusal.

Sources: OWASP on DNS rebinding and HTTP security headers; Jupyter's and TensorBoard's servers on loopback.
"""

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
"""Of every answer. The pages' own policies stand in them; a header's policy is added to that (`app`)."""

METHODS = ("GET", "HEAD")


class Guard:
    """An ASGI application before another one: it lets through what is allowed, under "/token/"."""

    def __init__(self, app: "ASGIApp", token: str, hosts: Iterable[str]):
        self.app, self.token, self.hosts = app, token.encode(), {one.encode() for one in hosts}

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Refuse, or pass on with HEADERS added to the answer."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        status = self._refusal(scope)
        if status:
            await _refuse(status, send)
            return
        await self.app(scope, receive, _with_headers(send))

    def _refusal(self, scope: "Scope") -> int:
        """The status of a refusal, 0 where there is none.

        The host is looked at first: a name that another site has made to lead here learns nothing.
        """
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return 421
        if scope["method"] not in METHODS:
            return 405
        _, first, rest = (*scope["raw_path"].split(b"/", 2), b"", b"")[:3]
        if not secrets.compare_digest(first, self.token) or b"%" in rest or b"\\" in rest:
            return 404
        return 0


async def _refuse(status: int, send: "Send") -> None:
    headers = {**HEADERS, "Content-Type": "text/plain; charset=utf-8", "Content-Length": "0"}
    if status == 405:
        headers["Allow"] = ", ".join(METHODS)
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: "Send") -> "Send":
    raw = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def sent(message: "Message") -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *raw]
        await send(message)

    return sent
