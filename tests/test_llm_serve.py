"""kpig.llm against a real server: `transformers serve` with a tiny random model, on loopback."""

import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from kpig.llm import Answer, Budget, HttpModel, HttpSettings, Request, TextBackend, load_local

START_S = 120
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}> {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

for package in ("openai", "fastapi", "uvicorn"):
    pytest.importorskip(
        package, reason=f"transformers serve needs {package}: pip install fastapi uvicorn openai"
    )


@pytest.fixture(scope="module")
def served_folder(tmp_path_factory, make_learner):
    """A folder with a tiny random model and a tokenizer that has a chat template, as the server needs.

    The server samples only where the model's own generation config says so, whatever the temperature.
    """
    folder = tmp_path_factory.mktemp("served") / "model"
    learner = make_learner("llama")
    learner.model.generation_config.do_sample = True
    learner.save(folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def server_url(served_folder, tmp_path_factory):
    """The base URL of a `transformers serve` that is ready, and is stopped whatever happens."""
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    arguments = ["serve", str(served_folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    code = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    with log.open("wb") as output:
        command = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        stop(process)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_until_ready(url, process, log):
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with direct.open(url, timeout=2):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"transformers serve is not ready (exit {process.poll()}):\n{log.read_text()[-3000:]}")


def stop(process):
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def backend_for(server_url, served_folder, monkeypatch):
    """backend_for(cache_dir, budget, model): a backend without retries, so that troubles show."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def make(cache_dir=None, budget=None, model=str(served_folder)):
        settings = HttpSettings(
            server_url, model, key_variable="", timeout_s=60.0, max_concurrency=2, max_retries=0
        )
        return TextBackend(HttpModel(settings, rng=random.Random(0)), cache_dir, budget)

    return make


def test_the_served_model_answers_as_the_same_model_does_locally(backend_for, served_folder):
    requests = [
        Request("sort the words: fox ant egg", max_tokens=8),
        Request("count them", system="You are brief.", max_tokens=5),
        Request("say nothing", max_tokens=8),
    ]
    served = backend_for().complete(requests)
    local = TextBackend(load_local(str(served_folder))).complete(requests)
    assert [answer.text.strip() for answer in served] == [answer.text for answer in local]
    assert [answer.prompt_tokens for answer in served] == [answer.prompt_tokens for answer in local]
    assert all(isinstance(answer, Answer) and 0 < answer.completion_tokens <= 8 for answer in served)
    assert len({answer.text for answer in served}) > 1


def test_a_second_run_costs_nothing(backend_for, tmp_path):
    requests = [Request(f"prompt {number}", max_tokens=4) for number in range(3)]
    first = backend_for(tmp_path).complete(requests)
    again = backend_for(tmp_path)
    outcomes = again.complete(requests)
    assert [answer.text for answer in outcomes] == [answer.text for answer in first]
    assert all(answer.cached for answer in outcomes) and again.usage.requests == 0


def test_a_budget_stops_the_served_model(backend_for):
    outcomes = backend_for(budget=Budget(max_requests=2)).complete(
        [Request(f"other prompt {number}", max_tokens=4) for number in range(4)]
    )
    assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 2


def test_a_seed_decides_what_is_sampled(backend_for):
    requests = [Request("tell me something", max_tokens=8, temperature=1.0, seed=seed) for seed in (7, 7, 8)]
    first, second, other = (backend_for().complete([request])[0].text for request in requests)
    assert first == second != other


def test_a_schema_that_the_server_ignores_does_no_harm(backend_for):
    plain, wished = backend_for().complete(
        [Request("q", max_tokens=4), Request("q", max_tokens=4, json_schema={"type": "object"})]
    )
    assert plain.text == wished.text


def test_another_models_name_is_refused_in_the_servers_words(backend_for):
    (failure,) = backend_for(model="some-other-model").complete([Request("q", max_tokens=4)])
    assert failure.reason == "refused" and "some-other-model" in failure.detail
