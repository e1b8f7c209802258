"""Whatever a language model, its server or a cache says: a result, or a KpigError.

Few examples in the gate; `pytest tests/test_fuzz_llm.py --hypothesis-profile=torture` tries many.
"""

import json
import random
import socketserver
import sqlite3
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kpig.annotate import by_llm as annotating
from kpig.diversify import diversify, write
from kpig.errors import KpigError
from kpig.llm import (
    Answer,
    AnswerCache,
    Failure,
    HttpModel,
    HttpSettings,
    Request,
    ScriptedModel,
    TextBackend,
)
from kpig.llm.cache import FILE_NAME, OLD_FILE_NAME
from kpig.llm.exchange import MAX_COUNT
from kpig.llm.reply import MAX_DETAIL, detail, parse
from kpig.llm.trouble import asked_wait
from kpig.records import Example, Instruction, KeySpan, Task
from kpig.tasks import stream

FEW = 25
FUZZ = settings(
    max_examples=FEW if settings.default.max_examples <= 100 else settings.default.max_examples,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
TEXT = "You are given a word. Say the word twice. Answer in capital letters, in at most 3 words."
PARTS = ("Say the word twice", "Answer in capital letters", "at most 3 words")
SPANS = tuple(KeySpan(TEXT.index(part), TEXT.index(part) + len(part), "operation") for part in PARTS)
REQUEST = Request("q", max_tokens=20)
DEEP = "[" * 5000

words = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(categories=("Cs", "Cc", "Cf", "Zl", "Zp", "Lu"), codec=None), max_size=12),
    st.sampled_from(
        [TEXT, *PARTS, "say the word  twice", "\ud800", "\x00\x1b[2J", "```", "${x}", "a" * 5000, "\n" * 3000]
    ),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**30), 2**63]),
    st.floats(),
    words,
    st.sampled_from(["operation", "format", "max_words", "regex"]),
)
KEYS = [
    *("key_parts", "text", "kind", "variants", "instruction", "rule", "type", "n", "pattern", "choices"),
    *("message", "content", "usage", "finish_reason", "prompt_tokens", "completion_tokens", "key", "model"),
    *("truncated", "error", "code", "detail"),
]
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS) | words, inner, max_size=6)
    ),
    max_leaves=12,
)
parts = st.fixed_dictionaries({}, optional={"text": words, "kind": scalars, "more": scalars})
annotations = st.fixed_dictionaries({"key_parts": st.lists(parts | values, max_size=4) | values})
rewordings = st.fixed_dictionaries(
    {
        "variants": st.lists(
            st.fixed_dictionaries({"instruction": words}, optional={"key_parts": values, "rule": values}),
            max_size=4,
        )
        | values
    }
)


def dumped(value):
    """JSON with what Python writes of NaN, and any surrogate, as a careless server would send it."""
    return json.dumps(value, ensure_ascii=True, allow_nan=True)


def wrapped(text):
    return st.sampled_from(
        [
            text,
            f"```json\n{text}\n```",
            f"Sure!\n```\n{text}\n``` Done. ```",
            f"```{text}",
            text[: len(text) // 2],
            f"{text}{text}",
            f"\ufeff{text}",
            f"{{{text}",
        ]
    )


replies = st.one_of(
    annotations.map(dumped).flatmap(wrapped),
    rewordings.map(dumped).flatmap(wrapped),
    values.map(dumped).flatmap(wrapped),
    words,
    st.sampled_from(
        [
            DEEP,
            '{"key_parts":' * 3000,
            "9" * 5000,
            "```\n" * 5000,
            "```" + "\n" * 5000,
            "{" * 50_000,
            "}" * 50_000,
        ]
    ),
)


@FUZZ
@given(replies, st.booleans())
def test_any_answer_is_read_as_key_parts_or_rejected(reply, truncated):
    found = annotating.read(TEXT, Answer(reply, truncated=truncated))
    assert found.spans is not None or found.rejections
    ends = [0, *(span.end for span in found.spans or ())]
    assert all(ends[n] <= span.start < span.end <= len(TEXT) for n, span in enumerate(found.spans or ()))
    annotating.request(TEXT, reply, found.rejections).messages  # noqa: B018  what is asked again can be sent


@FUZZ
@given(replies, replies)
def test_any_answer_is_read_as_variants_or_rejected_and_what_is_kept_can_be_read_back(first, second):
    instruction = Instruction(TEXT, SPANS)
    rows = tuple(Example(str(n), "t", instruction, f"w{n}", ("W W",)) for n in range(3))
    task = Task("t", (instruction,), rows, (), "rougeL")
    backend = TextBackend(ScriptedModel([first, second] * 8))
    report = diversify([task], 4, backend=backend)
    with tempfile.TemporaryDirectory() as folder:
        write(report, Path(folder))
        (Path(folder) / "t.jsonl").write_text(
            "\n".join(
                json.dumps({"task": "t", "instruction": TEXT, "input": one.input, "output": "W W"})
                for one in rows
            )
        )
        stream.load(folder)


bodies = st.one_of(
    st.binary(max_size=60),
    values.map(lambda value: dumped(value).encode()),
    st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries({"message": st.fixed_dictionaries({"content": scalars}) | values})
                | values,
                max_size=2,
            )
            | values
        },
        optional={
            "usage": st.fixed_dictionaries({"prompt_tokens": scalars, "completion_tokens": scalars}) | values
        },
    ).map(lambda value: dumped(value).encode()),
    st.sampled_from(
        [DEEP.encode(), b'{"choices":' * 4000, b"9" * 5000, b"NaN", b"\xff\xfe", b"", b"Infinity"]
    ),
)


@FUZZ
@given(bodies)
def test_any_body_is_a_completion_or_refused(body):
    try:
        answer = parse(body, REQUEST, "sk-secret-key")
    except ValueError as error:
        assert len(str(error)) < 300
        return
    answer.text.encode()
    assert 0 <= answer.prompt_tokens <= MAX_COUNT and 0 <= answer.completion_tokens <= MAX_COUNT


@FUZZ
@given(
    st.text(st.characters(codec=None))
    | st.sampled_from(["1e999", "-5", "9" * 5000, "Wed, 99 Foo 9999", "nan"])
)
@example("Thu, 01 Jan 99999 00:00:00 GMT")
@example("1e308")
def test_any_retry_after_is_a_number_of_seconds(value):
    assert 0.0 <= asked_wait({"retry-after": value}) < float("inf")


@FUZZ
@given(st.text(st.characters(codec=None)), st.text(max_size=20))
def test_a_servers_words_are_one_short_printable_line(text, secret):
    line = detail(text, secret)
    assert len(line) <= MAX_DETAIL + 3 and "\n" not in line and "\x1b" not in line and "\u202e" not in line


# Raw bytes on the wire


class _Says(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self):
        length = 0
        while (line := self.rfile.readline()).strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        self.wfile.write(self.server.said)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    said = b""

    def handle_error(self, request, client_address):
        """A client that hangs up is no matter."""


@pytest.fixture(scope="module")
def raw():
    pytest.importorskip("openai", reason="needs the extra 'llm': pip install openai")
    with pytest.MonkeyPatch.context() as patch, _Server(("127.0.0.1", 0), _Says) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


lines = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 429 No",
        b"HTTP/1.1 500 No",
        b"HTTP/1.1 302 No",
        b"HTTP/1.1 401 No",
        b"HTTP/9 x",
        b"",
    ]
) | st.binary(max_size=20)
headers = st.lists(
    st.sampled_from(
        [
            b"Content-Encoding: gzip",
            b"Content-Length: -1",
            b"Content-Length: 99999999999999999999",
            b"Transfer-Encoding: chunked",
            b"Location: http://[::1\x1b",
            b"Location: \xff\xfe",
            b"Retry-After: 1e999",
            b"Content-Type: text/html; charset=nothing",
            b"Set-Cookie: \x01=\x02",
            b"X: " + b"y" * 70_000,
        ]
    )
    | st.binary(max_size=20),
    max_size=4,
)


@FUZZ
@given(lines, headers, bodies)
def test_any_bytes_on_the_wire_are_an_answer_a_failure_or_an_error_in_words(raw, line, head, body):
    raw.said = b"\r\n".join([line, *head, b"", body])
    url = f"http://127.0.0.1:{raw.server_address[1]}/v1"
    settings = HttpSettings(url, "m", key_variable="", timeout_s=3.0, max_retries=0, max_failures=2)
    backend = TextBackend(HttpModel(settings, {}, random.Random(0)))
    try:
        (outcome,) = backend.complete([REQUEST])
    except KpigError as error:
        assert "\x1b" not in str(error)
    else:
        assert isinstance(outcome, Answer | Failure)


# What lies in a cache


entries = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "key": scalars,
            "model": values,
            "text": scalars,
            "prompt_tokens": scalars,
            "completion_tokens": scalars,
            "truncated": values,
        },
    ),
    values,
)
cached = entries.map(dumped) | st.sampled_from(
    [
        DEEP,
        '{"text": "x", "prompt_tokens": Infinity, "completion_tokens": 1}',
        '{"text": "x", "prompt_tokens": NaN, "completion_tokens": 1}',
        '{"text": "x", "prompt_tokens": 1e308, "completion_tokens": 1}',
        f'{{"text": "x", "prompt_tokens": {"9" * 5000}, "completion_tokens": 1}}',
        f'{{"text": "x", "prompt_tokens": {"9" * 4000}, "completion_tokens": 1}}',
        '{"key": "\\ud800", "model": "\\ud800", "text": "x", "prompt_tokens": 1, "completion_tokens": 1}',
        '{"key": "k", "model": "\\ud800", "text": "x", "prompt_tokens": 1, "completion_tokens": 1}',
        "",
        "\x00",
    ]
)


@FUZZ
@given(st.lists(cached, max_size=4), st.binary(max_size=20))
def test_any_lines_of_an_earlier_cache_are_taken_over_or_passed_over(found, rest):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / OLD_FILE_NAME).write_bytes("\n".join(found).encode("utf-8", "replace") + b"\n" + rest)
        cache = AnswerCache(Path(folder))
        assert len(cache) <= len(found) + 1
        assert isinstance(cache.get("k"), Answer | None)


@FUZZ
@given(cached | st.binary(max_size=10) | st.integers(-9, 9), cached)
def test_any_row_of_a_cache_is_an_answer_or_said_to_be_damaged(answer, owner):
    with tempfile.TemporaryDirectory() as folder:
        AnswerCache(Path(folder))
        connection = sqlite3.connect(Path(folder) / FILE_NAME)
        owner = owner.encode("utf-8", "replace").decode()
        if isinstance(answer, str):
            answer = answer.encode("utf-8", "replace").decode()
        connection.execute("INSERT INTO answers VALUES ('k', 'm', ?)", (answer,))
        connection.execute("INSERT INTO claims VALUES ('other', ?, 1e18)", (owner,))
        connection.commit()
        connection.close()
        cache = AnswerCache(Path(folder))
        try:
            assert isinstance(cache.get("k"), Answer)
        except KpigError as error:
            assert "damaged" in str(error)
        with cache.asking():
            assert cache.claim(["k", "new"]) == ["new"]
