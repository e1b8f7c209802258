"""One request on the wire: bytes there and back, by one deadline, of bounded size, to one address only."""

import contextlib
from collections.abc import AsyncIterable, Callable, Iterator, Mapping
from functools import partial
from typing import Any

from pydantic import SecretStr

from kpig.llm import reply
from kpig.llm.exchange import LlmError
from kpig.llm.settings import HttpSettings

Post = Callable[[Mapping[str, Any]], bytes]

MAX_ERROR_BYTES = 64 * 2**10
"""What is read of an error's body. Chosen: far above any message, and nobody sees more than a line of it."""


class Refused(Exception):
    """A status that is no success, redirects among them, and the beginning of its body."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes):
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


class Compressed(Exception):
    """A body that is compressed although we ask for none: unpacked it might fill the memory."""


@contextlib.contextmanager
def opened(settings: HttpSettings, key: SecretStr) -> Iterator[Post]:
    """A function that posts the body of a chat completion and returns the answer's; any thread may call it.

    An event loop in a thread of its own does the work: only there can everything of an attempt (address,
    connection, headers, body) be ended at one deadline. The client's own time-out counts each piece anew, so
    a server that trickles would never meet it. The function raises TimeoutError past `timeout_s`, ValueError
    for an answer that is too large, Refused and Compressed, and the client's own exceptions.
    """
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal:
        client = portal.call(_client, settings, key)
        try:
            yield lambda body: portal.call(partial(_post, client, body, settings.timeout_s))
        finally:
            portal.call(client.close)


def require_client() -> None:
    """Raise LlmError where the package of the client is missing."""
    try:
        import openai  # noqa: F401
    except ImportError:
        raise LlmError("the openai package is not installed; pip install openai") from None


async def _client(settings: HttpSettings, key: SecretStr) -> Any:
    """A client that follows no redirect: each would be a request beside the budget, with the prompt in it."""
    import openai

    http_client = openai.DefaultAsyncHttpxClient(
        follow_redirects=False, timeout=settings.timeout_s, event_hooks={"response": [_look]}
    )
    return openai.AsyncOpenAI(
        api_key=key.get_secret_value() or "none",
        base_url=settings.base_url,
        max_retries=0,
        timeout=settings.timeout_s,
        default_headers={"Accept-Encoding": "identity"},
        http_client=http_client,
    )


async def _post(client: Any, body: Mapping[str, Any], timeout_s: float) -> bytes:
    import anyio

    with anyio.fail_after(timeout_s):
        async with client.chat.completions.with_streaming_response.create(**body) as response:
            return await _read(response.iter_bytes(), reply.MAX_BODY_BYTES)


async def _look(response: Any) -> None:
    """Called with the headers, before the client reads the whole body of an error, however large."""
    encoding = response.headers.get("content-encoding", "").strip()
    if encoding.lower() not in ("", "identity"):
        raise Compressed(encoding)
    if not response.is_success:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) >= MAX_ERROR_BYTES:
                break
        raise Refused(response.status_code, response.headers, bytes(body[:MAX_ERROR_BYTES]))


async def _read(chunks: AsyncIterable[bytes], most: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise ValueError(f"the answer is larger than {most} bytes")
    return bytes(body)
