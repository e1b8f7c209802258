"""A small OpenAI-like server on loopback that does what a test tells it to, and remembers what it saw."""

import json
import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One request as it arrived: `at` is time.monotonic()."""

    at: float
    path: str
    authorization: str
    body: dict

    @property
    def prompt(self):
        return self.body["messages"][-1]["content"]


def completion(text, usage=(5, 3), finish="stop"):
    """The body of a chat completion; usage=None leaves the token counts out."""
    counts = usage and {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"object": "chat.completion", "choices": [choice], "usage": counts}


def says(text, delay=0.0, **details):
    """Answer with a text, or with what a function of the received request gives."""

    def behave(handler, received):
        handler.server.closing.wait(delay)
        said = text(received) if callable(text) else text
        handler.reply(200, json.dumps(completion(said, **details)).encode())

    return behave


def fails(status, message="as the test wants", headers=(), code=None):
    """Answer with an error status."""

    def behave(handler, received):
        said = message(received) if callable(message) else message
        handler.reply(status, json.dumps({"error": {"message": said, "code": code}}).encode(), dict(headers))

    return behave


def sends(data, content_type="application/json"):
    """Answer 200 with these very bytes."""
    return lambda handler, received: handler.reply(200, data, {"Content-Type": content_type})


def cuts(after=b""):
    """Close the connection, after a part of the answer or before any."""

    def behave(handler, received):
        if after:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            handler.wfile.write(b"Content-Length: 500\r\n\r\n" + after)
            handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    return behave


def drips(pause, times):
    """Send one byte after another, each in time, for a long time."""

    def behave(handler, received):
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
        )
        for _ in range(times):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            if handler.server.closing.wait(pause):
                return

    return behave


def trickles_headers(pause, times, start=b"HTTP/1.1 200 OK\r\n"):
    """Send one header after another, each in time, and no end of them."""

    def behave(handler, received):
        handler.wfile.write(start)
        for number in range(times):
            handler.wfile.write(f"X-{number}: 1\r\n".encode())
            handler.wfile.flush()
            if handler.server.closing.wait(pause):
                return

    return behave


def redirects(status, to):
    """Send the client elsewhere: to an address, or to what a function of the server's own gives."""

    def behave(handler, received):
        place = to(handler.server.url) if callable(to) else to
        handler.reply(status, b"{}", {"Location": place})

    return behave


def compresses(data, status=200, name="gzip"):
    """Answer with bytes that are said to be compressed, whether or not the client takes such."""
    return lambda handler, received: handler.reply(status, data, {"Content-Encoding": name})


ECHO = says(lambda received: f"answer to {received.prompt}")


class MisbehavingServer(ThreadingHTTPServer):
    """Follows a list of behaviours, one per request in order of arrival, then answers with an echo."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *script, then=ECHO):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = list(script)
        self.then = then
        self.received = []
        self.at_once = self.most_at_once = 0
        self.closing = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def prompts(self):
        return [received.prompt for received in self.received]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that hung up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        at = time.monotonic()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        received = Received(at, self.path, self.headers.get("Authorization", ""), body)
        server = self.server
        with server.lock:
            server.received.append(received)
            behave = server.script.pop(0) if server.script else server.then
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
            self.counted = True
        try:
            behave(self, received)
        finally:
            self.leave()

    def leave(self):
        """No longer at work; said before the reply goes out, after which the client may send its next."""
        with self.server.lock:
            self.server.at_once -= self.counted
            self.counted = False

    def reply(self, status, data, headers=None):
        self.leave()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""
