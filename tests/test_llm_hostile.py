"""kpig.llm against servers that mean no good: trickles, redirects, compressed floods, endless refusals."""

import gzip
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kpig.errors import ConfigError
from kpig.llm import AnswerCache, Budget, HttpModel, HttpSettings, LlmError, Request, TextBackend
from misbehaving_server import (
    ECHO,
    MisbehavingServer,
    completion,
    compresses,
    cuts,
    drips,
    fails,
    redirects,
    says,
    sends,
    trickles_headers,
)

pytest.importorskip("openai", reason="needs the extra 'llm': pip install openai")

SECRET = "sk-hostile-81c02d"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def backend_for(server, cache_dir=None, budget=None, **changes):
    quick = {"timeout_s": 5.0, "max_concurrency": 3, "max_retries": 0, "backoff_s": 0.01, "max_wait_s": 0.1}
    settings = HttpSettings(server.url, "some-model", **{**quick, **changes})
    model = HttpModel(settings, {"OPENAI_API_KEY": SECRET}, random.Random(0))
    return TextBackend(model, cache_dir, budget)


def requests_of(*prompts):
    return [Request(prompt, max_tokens=20) for prompt in prompts]


# One deadline


@pytest.mark.parametrize(
    "slow",
    [
        trickles_headers(0.05, 200),
        trickles_headers(0.05, 200, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\n"),
        drips(0.05, 200),
        says("late", delay=8.0),
    ],
    ids=["headers", "headers of an error", "body", "silence"],
)
def test_an_attempt_ends_at_its_deadline_whatever_trickles(slow):
    began = time.monotonic()
    with MisbehavingServer(then=slow) as server:
        (failure,) = backend_for(server, timeout_s=0.6).complete(requests_of("q"))
    assert failure.reason == "timeout"
    assert time.monotonic() - began < 3.0


def test_the_body_of_an_error_is_under_the_deadline_too():
    def drips_error(handler, received):
        handler.wfile.write(b"HTTP/1.1 503 No\r\nContent-Length: 5000\r\n\r\n")
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            if handler.server.closing.wait(0.05):
                return

    began = time.monotonic()
    with MisbehavingServer(then=drips_error) as server:
        (failure,) = backend_for(server, timeout_s=0.5).complete(requests_of("q"))
    assert failure.reason == "timeout" and time.monotonic() - began < 3.0


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_prompt_goes_nowhere_else(status):
    with MisbehavingServer() as elsewhere:
        with MisbehavingServer(then=redirects(status, f"{elsewhere.url}/chat")) as server:
            words = re.escape(f"redirects to {elsewhere.url}/chat")
            with pytest.raises(LlmError, match=words):
                backend_for(server, max_concurrency=1).complete(requests_of("secret plan"))
        assert len(server.received) == 1 and not elsewhere.received


def test_a_circle_of_redirects_costs_what_the_budget_says():
    budget = Budget(max_requests=20)
    with (
        MisbehavingServer(then=redirects(307, lambda own: f"{own}/chat/completions")) as server,
        pytest.raises(LlmError, match="redirects"),
    ):
        backend_for(server, budget=budget).complete(requests_of(*map(str, range(60))))
        assert len(server.received) == budget.usage.requests <= 20


def test_a_redirects_address_cannot_write_to_the_terminal():
    place = "http://[::1\x1b]2;owned"
    with MisbehavingServer(then=redirects(302, place)) as server, pytest.raises(LlmError) as caught:
        backend_for(server).complete(requests_of("q"))
    assert "\x1b" not in str(caught.value)


# Sizes


def test_no_compressed_answer_is_asked_for_and_one_that_comes_is_not_unpacked():
    flood = gzip.compress(b" " * 50_000_000)
    asked = []

    def behave(handler, received):
        asked.append(handler.headers.get("Accept-Encoding"))
        compresses(flood)(handler, received)

    with (
        MisbehavingServer(then=behave) as server,
        pytest.raises(LlmError, match=r"compresses its answers \(Content-Encoding: gzip\)"),
    ):
        backend_for(server).complete(requests_of("q"))
    assert set(asked) == {"identity"}


@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_compressed_error_is_not_unpacked_either(status):
    flood = gzip.compress(b" " * 50_000_000)
    with (
        MisbehavingServer(then=compresses(flood, status)) as server,
        pytest.raises(LlmError, match="compresses its answers"),
    ):
        backend_for(server).complete(requests_of("q"))


def test_memory_stays_small_whatever_is_sent():
    code = """
import gzip, resource, sys, os
sys.path.insert(0, sys.argv[1])
os.environ["OPENAI_API_KEY"] = "k" * 20
from misbehaving_server import MisbehavingServer, compresses, sends, fails
from kpig.errors import KpigError
from kpig.llm import HttpModel, HttpSettings, Request, TextBackend
flood = gzip.compress(b" " * 300_000_000)
plain = b" " * 40_000_000
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def ask(behave):
    with MisbehavingServer(then=behave) as server:
        model = HttpModel(HttpSettings(server.url, "m", max_retries=0))
        try:
            TextBackend(model).complete([Request("q")])
        except KpigError:
            pass
ask(fails(400))
before = peak()
ask(compresses(flood)); ask(compresses(flood, 500)); ask(sends(plain))
ask(lambda handler, received: handler.reply(500, plain))
print(peak() - before)
"""
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=100)
    assert float(done.stdout) < 120, done.stdout + done.stderr


# Refusals without end


@pytest.mark.parametrize("behaviour", [fails(429), fails(503), cuts(), sends(b"<html>"), fails(422)])
def test_a_server_that_only_fails_is_given_up_after_some_requests_in_a_row(behaviour):
    with (
        MisbehavingServer(then=behaviour) as server,
        pytest.raises(LlmError, match=r"4 requests in a row .*--max-failures") as caught,
    ):
        backend_for(server, max_failures=4, max_retries=1, max_concurrency=2).complete(
            requests_of(*map(str, range(300)))
        )
    assert len(server.received) <= 2 * (4 + 2)
    assert caught.value.exit_code == 1


def test_one_answer_among_the_failures_starts_the_count_anew():
    script = [fails(500), fails(500), ECHO] * 5
    with MisbehavingServer(*script) as server:
        outcomes = backend_for(server, max_failures=3, max_concurrency=1).complete(
            requests_of(*map(str, range(15)))
        )
    assert sum(hasattr(one, "text") for one in outcomes) == 5


def test_prompts_refused_by_themselves_do_not_end_a_job_that_has_answers():
    with MisbehavingServer(ECHO, *[fails(400)] * 9, then=ECHO) as server:
        outcomes = backend_for(server, max_failures=3, max_concurrency=1).complete(
            requests_of(*map(str, range(12)))
        )
    assert [one.reason for one in outcomes[1:10]] == ["refused"] * 9 and outcomes[11].text


def test_what_was_answered_before_the_stop_is_kept_and_the_next_run_goes_on(tmp_path):
    prompts = [str(number) for number in range(20)]
    with MisbehavingServer(*[ECHO] * 7, then=fails(429)) as server, pytest.raises(LlmError, match="HTTP 429"):
        backend_for(server, tmp_path, max_failures=2, max_concurrency=1).complete(requests_of(*prompts))
    assert len(AnswerCache(tmp_path)) == 7
    with MisbehavingServer() as server:
        outcomes = backend_for(server, tmp_path).complete(requests_of(*prompts))
    assert len(server.received) == 13 and all(one.text for one in outcomes)


def test_a_count_of_failures_below_one_is_refused():
    with pytest.raises(ConfigError, match="max_failures must be at least 1"):
        HttpSettings("http://127.0.0.1:1/v1", "m", max_failures=0)


def test_token_counts_that_cannot_be_do_not_come_through():
    body = json.dumps(completion("x")).replace('"prompt_tokens": 5', f'"prompt_tokens": {"9" * 4000}')
    with MisbehavingServer(then=sends(body.encode())) as server:
        backend = backend_for(server)
        (answer,) = backend.complete(requests_of("q"))
    assert answer.prompt_tokens == requests_of("q")[0].prompt_bound
