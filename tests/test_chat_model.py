"""Chat models that fail, refuse, think aloud or talk nonsense: what the commands that ask them make of it."""

import json
import re
import subprocess
import sys
import time

import pytest

from kpig.annotate import by_llm
from kpig.diversify.by_llm import read_answer
from kpig.llm import Answer, AnswerCache, LlmError, Request, ScriptedModel, TextBackend
from kpig.llm.thoughts import without_thoughts
from misbehaving_server import ECHO, MisbehavingServer, fails, says
from test_cli import TASK, kpig, refused, write_tasks
from test_llm_hostile import backend_for, requests_of

pytest.importorskip("openai", reason="needs the extra 'llm': pip install openai")

INSTRUCTION = "You are given a word. Your task is to say the word {} times. Answer in capital letters."
PART = json.dumps({"key_parts": [{"text": "say the word", "kind": "operation"}]})


@pytest.fixture
def tasks(tmp_path):
    rows = [
        TASK | {"task": f"t{n}", "instruction": INSTRUCTION.format(n), "input": f"w{m}"}
        for n in range(3)
        for m in range(4)
    ]
    return write_tasks(tmp_path / "tasks", *rows)


def asked(server, tmp_path, *more):
    """The options that name the server."""
    return [
        "--llm", "m", "--base-url", server.url, "--key-variable", "", "--retries", 0, "--cache",
        tmp_path / "cache", *more,
    ]  # fmt: skip


# Failures


def test_few_requests_that_all_fail_are_no_success_and_the_servers_words_are_told(tasks, tmp_path):
    out = tmp_path / "o" / "keyparts.json"
    with MisbehavingServer(then=fails(500, "out of coffee")) as server:
        done = kpig("annotate", tasks, "--by", "llm", "--out", out, *asked(server, tmp_path))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "t0: no answer: server_error HTTP 500: out of coffee" in done.stdout
    assert "none were found in 3 of them (t0, t1, t2)" in done.stdout
    assert "3 requests to m were left without an answer" in done.stderr and "out of coffee" in done.stderr


def test_what_was_found_is_kept_where_a_request_fails(tasks, tmp_path):
    out = tmp_path / "o" / "keyparts.json"

    def behave(handler, received):
        (fails(500) if "the word 1 times" in received.prompt else says(PART))(handler, received)

    with MisbehavingServer(then=behave) as server:
        common = ["annotate", tasks, "--by", "llm", "--out", out, *asked(server, tmp_path)]
        assert "1 requests to m were left without an answer" in refused(*common)
        assert set(json.loads(out.read_text())) == {"t0", "t2"}
        server.then = says(PART)
        assert kpig(*common).returncode == 0
    assert set(json.loads(out.read_text())) == {"t0", "t1", "t2"}


def test_rewordings_without_an_answer_are_no_success_either(tasks, tmp_path):
    kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
    with MisbehavingServer(then=fails(500, "out of coffee")) as server:
        told = refused(
            "diversify", tasks, "--ways", "concretizing", "--n", 1, "--out", tmp_path / "o",
            *asked(server, tmp_path),
        )  # fmt: skip
    assert "out of coffee" in told and "--overwrite" in told


def test_refusals_in_a_row_are_not_said_to_need_more_retries():
    with MisbehavingServer(then=fails(400, "no such field")) as server, pytest.raises(LlmError) as caught:
        backend_for(server, max_failures=3).complete(requests_of(*map(str, range(9))))
    assert "no such field" in str(caught.value) and "--retries" not in str(caught.value)


# Parameters that a server refuses


def takes_neither(handler, received):
    """As OpenAI's reasoning models."""
    if "max_tokens" in received.body:
        words = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        return fails(400, words)(handler, received)
    if received.body.get("temperature", 1) != 1:
        return fails(400, "Unsupported value: 'temperature' does not support 0")(handler, received)
    return ECHO(handler, received)


def test_a_parameter_that_a_server_refuses_is_renamed_or_left_out_from_then_on_and_told(caplog):
    with MisbehavingServer(then=takes_neither) as server:
        backend = backend_for(server, max_concurrency=1)
        first, second = backend.complete(requests_of("a", "b"))
    assert first.text == "answer to a" and second.text == "answer to b"
    assert len(server.received) == 4
    assert server.received[-1].body["max_completion_tokens"] == 20
    assert server.received[-1].body.keys() == {"model", "messages", "max_completion_tokens"}
    assert "refuses 'temperature'" in caplog.text and "'max_completion_tokens'" in caplog.text


def test_a_schema_is_kept_where_another_parameter_is_refused():
    with MisbehavingServer(then=takes_neither) as server:
        backend_for(server).complete([Request("q", max_tokens=9, json_schema={"type": "object"})])
    assert "response_format" in server.received[-1].body and len(server.received) == 3


@pytest.mark.parametrize(
    "words", ["max_tokens is too large: 9000", "this model's context is 4096", "temperature must be warmer"]
)
def test_other_refusals_are_told_in_the_servers_words(words):
    with MisbehavingServer(then=fails(400, words)) as server:
        (failure,) = backend_for(server).complete(requests_of("q"))
    assert failure.reason == "refused" and words in failure.detail
    assert all("max_completion_tokens" not in received.body for received in server.received)


def test_a_parameter_that_stands_beside_the_words_counts_too():
    def behave(handler, received):
        if "temperature" not in received.body:
            return ECHO(handler, received)
        error = {"error": {"message": "Only the default is supported.", "param": "temperature"}}
        return handler.reply(400, json.dumps(error).encode())

    with MisbehavingServer(then=behave) as server:
        (answer,) = backend_for(server).complete(requests_of("q"))
    assert answer.text == "answer to q"


# Answers that nobody can read


def test_answers_that_cannot_be_read_are_no_success_and_asked_anew_the_next_time(tasks, tmp_path):
    out = tmp_path / "o" / "keyparts.json"
    with MisbehavingServer(then=says("blah {{{")) as server:
        common = ["annotate", tasks, "--by", "llm", "--out", out, *asked(server, tmp_path)]
        assert "no answer could be read (not JSON 3)" in refused(*common)
        server.then = says(PART)
        done = kpig(*common)
    assert done.returncode == 0 and "rejected" not in done.stdout
    assert "3 requests, 6 where every answer has a mistake" in done.stderr
    assert len(json.loads(out.read_text())) == 3


def test_an_answer_that_can_be_read_the_second_time_is_kept_with_the_first(tmp_path):
    model = ScriptedModel(["blah", PART])
    found = by_llm.find_all(TextBackend(model, tmp_path), {"t": INSTRUCTION.format(2)})
    assert found["t"].spans and len(AnswerCache(tmp_path)) == 2
    again = ScriptedModel([])
    assert by_llm.find_all(TextBackend(again, tmp_path), {"t": INSTRUCTION.format(2)}) == found
    assert not again.received


def test_rewordings_that_cannot_be_read_are_asked_anew_the_next_time(tasks, tmp_path):
    kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
    with MisbehavingServer(then=says("blah {{{")) as server:
        for _ in range(2):
            told = refused(
                "diversify", tasks, "--ways", "concretizing", "--n", 1, "--out", tmp_path / "o",
                "--overwrite", *asked(server, tmp_path),
            )  # fmt: skip
            assert "no answer could be read (concretizing: malformed 6)" in told and "--overwrite" in told
        assert len(server.received) == 2 * 2 * 3


def test_rewordings_that_can_be_read_and_are_turned_down_are_told_in_the_table_only(tasks, tmp_path):
    kpig("annotate", tasks, "--by", "rules", "--out", tasks / "keyparts.json")
    with MisbehavingServer(then=says(json.dumps({"variants": [{"instruction": ""}]}))) as server:
        done = kpig(
            "diversify", tasks, "--ways", "concretizing", "--n", 1, "--out", tmp_path / "o",
            *asked(server, tmp_path),
        )  # fmt: skip
    assert done.returncode == 0 and "rejected" in done.stdout and "malformed" not in done.stdout


@pytest.mark.parametrize(
    "thoughts", ['<think>hmm {"key_parts": []}</think>\n', "so {it} is\n</think>\n", "<think>\n\n</think>"]
)
def test_thoughts_before_an_answer_are_passed_over(thoughts):
    text = INSTRUCTION.format(2)
    (span,) = by_llm.read(text, Answer(thoughts + PART)).spans
    assert text[span.start : span.end] == "say the word"
    wording = '{"variants": [{"instruction": "Say </think> it.", "key_parts": ["Say"]}]}'
    for said in (wording, thoughts + wording, f"{thoughts}```json\n{wording}\n```"):
        (candidate,) = read_answer(said, "concretizing")
        assert candidate.text == "Say </think> it."


def test_thoughts_without_an_end_are_no_answer():
    assert (
        without_thoughts('<think>{"key_parts": [') == "" and without_thoughts("a <think> b") == "a <think> b"
    )
    found = by_llm.read(INSTRUCTION, Answer("<think>" + PART, truncated=True))
    assert found.spans is None and found.rejections[0].reason == "cut off"


# Options without a use


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["annotate", "--llm", "m", "--base-url", "http://x/v1"], "--llm, --base-url have no effect"),
        (["annotate", "--by", "rules", "--max-requests", 3], "--max-requests has no effect with --by rules"),
        (["annotate", "--by", "rules", "--model", "tiny"], "--model has no effect with --by rules"),
        (["diversify", "--out", "o", "--base-url", "http://x/v1"], "--base-url has no effect without --llm"),
        (["diversify", "--out", "o", "--temperature", 0.1], "--temperature has no effect without --llm"),
    ],
)  # fmt: skip
def test_an_option_that_would_have_no_effect_is_refused(arguments, words, tasks):
    command, *options = arguments
    assert words in refused(command, tasks, *options, code=2)


# Waiting


def test_every_attempt_that_times_out_is_told(caplog):
    with MisbehavingServer(then=says("late", delay=8.0)) as server:
        backend_for(server, timeout_s=0.3, max_retries=1).complete(requests_of("q"))
    told = [one for one in caplog.messages if "no answer within 0.3 s" in one]
    assert [re.search(r"attempt \d of \d", one).group() for one in told] == [
        "attempt 1 of 2",
        "attempt 2 of 2",
    ]
    assert len(set(told)) == 2


def test_an_interrupted_job_says_what_it_waits_for(caplog):
    def behave(handler, received):
        says("x", delay=0.3 if received.prompt == "quick" else 1.0)(handler, received)

    def interrupt(progress):
        if progress.done:
            raise KeyboardInterrupt

    with MisbehavingServer(then=behave) as server, pytest.raises(KeyboardInterrupt):
        backend = backend_for(server)
        backend.complete(requests_of("quick", "slow", "slower"), interrupt)
    assert "waiting up to 5 s for 2 answers that may be paid for; Ctrl-C again ends now" in caplog.text
    assert len(backend.cache) == 3


def test_a_line_is_printed_at_once_where_python_is_told_to_buffer_nothing():
    code = """
import sys, time
from kpig.cli import pipes
pipes.outlast_readers()
print("now", file=sys.stderr)
time.sleep(60)
"""
    command = [sys.executable, "-u", "-c", code]
    began = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        process.kill()
    assert line == "now\n" and time.monotonic() - began < 50
