"""`kpig view` shows the runs it was given to whoever has its token, on this machine, and nothing else."""

import contextlib
import http.client
import json
import os
import queue
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kpig.errors import RunError
from kpig.view import server as servers
from kpig.view import shelf as shelves
from kpig.view.build import Builder
from kpig.view.guard import HEADERS
from kpig.view.server import ADDRESS, serve
from kpig.view.shelf import Shelf, check_plain, last_update
from test_compare import SCRIPT, scores_of, write_run
from test_compare_page import TASKS, answer, task_entry, with_answers

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

SECRET = "the secret of another folder"


def step_done(run, number):
    """A step of a run as it is when it is done."""
    scores = scores_of("kpig", 0, 60.0, 40.0, False, "superni-rouge 1")
    step = run / f"steps/{number:02d}"
    step.mkdir(parents=True)
    learned = {
        task: task_entry(60.0, "seen" if place < number else "later") for place, task in enumerate(TASKS)
    }
    kept = scores["steps"][number] | {"version": 1, "cost": scores["cost"], "tasks": learned}
    (step / "scores.json").write_text(json.dumps(kept))
    (step / "DONE").touch()


def begun(folder):
    """A run that goes on: the untuned model is scored, and one update was made."""
    run = write_run(folder, finished=False)
    step_done(run, 0)
    event = {"t": time.time() - 4, "step": 1, "update": 7, "loss": 1.25}
    (run / "events.jsonl").write_text(json.dumps(event) + "\n")
    return run


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "secret.txt").write_text(SECRET)
    for method in ("kpig", "replay"):
        rows = [answer(task, n, n % 2) for task in TASKS for n in range(3)]
        with_answers(write_run(tmp_path / "runs" / method, method), rows)
    begun(tmp_path / "runs/going")
    return tmp_path / "runs"


class Client:
    """Asks a server that runs in a thread, with every byte of the request as it is given."""

    def __init__(self, url):
        found = re.fullmatch(rf"http://{re.escape(ADDRESS)}:(\d+)/([\w-]{{43}})/", url)
        self.port, self.token = int(found[1]), found[2]

    def get(self, path, token=None, method="GET", **headers):
        """The status, the headers and the text of an answer."""
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=120)
        with contextlib.closing(connection):
            own = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.putrequest(
                method, f"/{self.token if token is None else token}{path}", skip_host=bool(own.get("Host"))
            )
            for name, value in own.items():
                connection.putheader(name, value)
            connection.endheaders()
            got = connection.getresponse()
            return got.status, {k.lower(): v for k, v in got.getheaders()}, got.read().decode()

    def raw(self, request):
        """The first line of the answer to a request of any bytes."""
        with socket.create_connection((ADDRESS, self.port), timeout=20) as sent:
            sent.sendall(request)
            return sent.recv(65_536).split(b"\r\n")[0]


SERVERS = {}
"""Those that run, by the token of their client."""


def stop(client):
    """Ask a server to stop, and wait until it has."""
    server, thread = SERVERS.pop(client.token)
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def started(monkeypatch):
    """Start servers in threads: `started(folder, ...)`; they are stopped in the end."""
    made = queue.Queue()
    server_of = servers._server

    def kept(*given):
        found = server_of(*given)
        made.put(found)
        return found

    monkeypatch.setattr(servers, "_server", kept)
    clients = []

    def start(*roots):
        told = queue.Queue()
        thread = threading.Thread(target=serve, args=(roots, 0, told.put), daemon=True)
        thread.start()
        clients.append(Client(told.get(timeout=60)))
        SERVERS[clients[-1].token] = (made.get(), thread)
        return clients[-1]

    yield start
    for client in clients:
        if client.token in SERVERS:
            stop(client)


def numbers(index):
    """The number of every run in a list, by the run's name."""
    return {name: int(number) for number, name in re.findall(r'href="run/(\d+)/">([^<]*)<', index)}


# What is shown.


def test_the_list_says_how_far_every_run_is_and_leads_to_its_report(runs, started):
    client = started(runs)
    status, headers, index = client.get("/")
    assert status == 200 and headers["content-type"].startswith("text/html")
    found = numbers(index)
    assert set(found) == {"runs/going", "runs/kpig", "runs/replay"}
    assert "running" not in index and "stopped" in index and "update 7 of step 1, loss 1.250" in index
    assert client.get(f"/run/{found['runs/kpig']}/")[0] == 200
    status, headers, page = client.get(f"/run/{found['runs/kpig']}/page")
    assert (
        status == 200
        and "data-figures" in page
        and "frame-ancestors 'self'" in headers["content-security-policy"]
    )
    assert "Compare the 2 finished runs" in index
    assert "2 methods or settings in 2 runs" in client.get("/compare/page")[2]


def test_a_run_that_goes_on_is_shown_as_far_as_it_is_and_anew_when_a_step_is_done(runs, started):
    client = started(runs)
    number = numbers(client.get("/")[2])["runs/going"]
    around = client.get(f"/run/{number}/")[2]
    assert "0 of 3 steps" in around
    first = client.get(f"/run/{number}/page")
    assert first[0] == 200
    step_done(runs / "going", 1)
    assert client.get(f"/run/{number}/page")[2] != first[2]
    later = client.get(f"/run/{number}/")[2]
    assert "1 of 3 steps" in later
    stamp = re.compile(r'data-stamp="(\w+)"')
    assert stamp.search(later)[1] != stamp.search(around)[1]


def test_a_run_that_begins_later_is_found_and_the_others_keep_their_numbers(tmp_path):
    write_run(tmp_path / "b", "replay")
    found = Shelf([tmp_path])
    before = {run.name: run.number for run in found.runs()}
    write_run(tmp_path / "a", "kpig")
    found._looked = float("-inf")
    after = {run.name: run.number for run in found.runs()}
    assert after.keys() - before.keys() == {f"{tmp_path.name}/a"} and before.items() <= after.items()
    assert list(after) == [f"{tmp_path.name}/a", f"{tmp_path.name}/b"]


def test_a_page_is_built_again_only_when_its_files_have_changed(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    builder, made = Builder(), []

    def make():
        made.append(now[0])
        now[0] += 2.0
        return f"page {len(made)}"

    assert [builder.page(1, "old", make, "a"), builder.page(1, "old", make, "a")] == ["page 1", "page 1"]
    assert builder.page(1, "old", make, "b") == "page 1", "further updates wait a while"
    now[0] += 6.1
    assert builder.page(1, "old", make, "a") == "page 1"
    assert builder.page(1, "old", make, "b") == "page 2"
    assert builder.page(1, "new", make, "b") == "page 3", "a step that is done does not wait"
    for number in range(2, 20):
        builder.page(number, "old", make)
    assert len(builder._kept) == 8


def test_what_cannot_be_shown_says_why_and_the_others_are_shown(runs, started):
    (runs / "kpig/scores.json").write_text(f'{{"{SCRIPT}": 1')
    client = started(runs)
    index = client.get("/")[2]
    assert "damaged" in index and SCRIPT not in index
    found = numbers(index)
    status, _, page = client.get(f"/run/{found['runs/kpig']}/page")
    assert status == 422 and "cannot be shown" in page and "cannot be read" in page
    assert client.get(f"/run/{found['runs/replay']}/page")[0] == 200


def test_runs_that_do_not_compare_are_compared_with_what_differs_on_top(tmp_path, started):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", "replay", train={"batch_size": 8})
    page = started(tmp_path).get("/compare/page")[2]
    assert "These runs do not compare" in page and "train.batch_size" in page


def test_a_comparison_that_lay_in_a_folder_is_shown_as_a_stranger(tmp_path, started):
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared/compare.html").write_text(f"<p>kept</p>{SCRIPT}")
    client = started(tmp_path / "compared")
    assert 'href="saved/0/"' in client.get("/")[2] and client.get("/saved/0/")[0] == 200
    status, headers, page = client.get("/saved/0/page")
    assert status == 200 and page.startswith("<p>kept</p>")
    policy = headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;") and "allow-same-origin" not in policy
    assert "connect-src 'none'" in policy
    assert client.get("/saved/1/page")[0] == 404


def test_an_empty_folder_waits_for_its_runs(tmp_path, started):
    assert "There is no run here yet" in started(tmp_path).get("/")[2]


@pytest.mark.parametrize(
    "line", [b"[1]", b"{", b'{"t": "x", "step": 1, "update": 2}', b"\xff\xfe", b"[" * 5000]
)
def test_events_that_are_none_are_passed_over(tmp_path, line):
    path = tmp_path / "events.jsonl"
    event = json.dumps({"t": time.time() - 3, "step": 2, "update": 5, "loss": 0.5}).encode()
    path.write_bytes(b"x" * 100_000 + b"\n" + event + b"\n" + line + b"\n")
    found = last_update(path)
    assert (found.step, found.number, found.loss) == (2, 5, 0.5) and 2 <= found.age <= 60
    assert last_update(tmp_path / "none.jsonl") is None


# Attacks.


def test_every_answer_has_strict_headers_and_hides_what_answers(runs, started):
    client = started(runs)
    number = numbers(client.get("/")[2])["runs/kpig"]
    for path in ("/", f"/run/{number}/", f"/run/{number}/page", "/compare/page", "/nothing", "/run/999/page"):
        _, headers, _ = client.get(path)
        assert {name: headers.get(name.lower()) for name in HEADERS} == HEADERS, path
        assert "server" not in headers and "access-control-allow-origin" not in headers
    assert "access-control-allow-origin" not in client.get("/", Origin="http://evil.example")[1]


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "A" * 100_0, "%2e%2e", "..", "static"])
def test_without_the_token_everything_is_not_there(runs, started, token):
    client = started(runs)
    for path in ("/", "/run/0/page", "/compare/page"):
        status, _, text = client.get(path, token=token)
        assert (status, text) == (404, "")
    assert client.get("/", token=client.token[:-1])[0] == client.get("/", token=client.token + "x")[0] == 404
    swapped = client.token.swapcase()
    assert client.get("/", token=swapped)[0] == (404 if swapped != client.token else 200)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}",
     "127.0.0.1:{port}.evil.example", "[::1]:{port}", "0.0.0.0:{port}", "127.1:{port}",
     "user@127.0.0.1:{port}"],
)  # fmt: skip
def test_another_sites_name_that_leads_here_learns_nothing(runs, started, host):
    client = started(runs)
    status, _, text = client.get("/", Host=host.format(port=client.port))
    assert (status, text) == (421, "")
    assert client.get("/", Host=f"localhost:{client.port}")[0] == 200


def test_no_host_and_two_hosts_are_refused(runs, started):
    client = started(runs)
    path = f"/{client.token}/".encode()
    good = f"127.0.0.1:{client.port}".encode()
    assert b" 421 " in client.raw(b"GET " + path + b" HTTP/1.0\r\n\r\n")
    two = b"GET " + path + b" HTTP/1.1\r\nHost: " + good + b"\r\nHost: evil.example\r\n\r\n"
    assert b" 400 " in client.raw(two) or b" 421 " in client.raw(two)
    absolute = b"GET http://evil.example" + path + b" HTTP/1.1\r\nHost: " + good + b"\r\n\r\n"
    assert b" 404 " in client.raw(absolute)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_only_reading_is_answered(runs, started, method):
    client = started(runs)
    status, headers, _ = client.get("/", method=method)
    assert status in (400, 405) and headers.get("allow", "GET, HEAD") == "GET, HEAD"
    assert client.get("/", method="HEAD")[::2] == (200, "")


ESCAPES = [
    "/../secret.txt",
    "/run/../../secret.txt",
    "/run/0/../../../secret.txt",
    "/%2e%2e/secret.txt",
    "/run/%2e%2e%2f%2e%2e%2fsecret.txt",
    "/run/..%5c..%5csecret.txt",
    "/run/..\\..\\secret.txt",
    "/run/0/page/../../../../secret.txt",
    "/run/0/%00",
    "/run/-1/page",
    "/run/0x0/page",
    "/run/０/page".encode().decode("latin-1"),
    "/run/99999999999999999999999/page",
    "/run/kpig/page",
    "/run/0/scores.json",
    "/run/0/page/",
    "//secret.txt",
    "/saved/0/page",
    "/saved/-1/page",
    "/run",
    "/run/",
    "/.git/config",
    "/etc/passwd",
    "/run/0/page%3f",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_no_path_leads_out_of_the_runs_or_lists_a_folder(runs, started, path):
    client = started(runs)
    request = (
        f"GET /{client.token}{path} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((ADDRESS, client.port), timeout=60) as sent:
        sent.sendall(request.encode("latin-1"))
        found = b""
        while part := sent.recv(65_536):
            found += part
    assert found.split(b" ")[1] in (b"404", b"400"), found[:200]
    assert SECRET.encode() not in found and b"secret.txt" not in found


def test_a_link_in_a_run_leads_nowhere(runs, started):
    prediction = next((runs / "kpig").rglob("predictions/*.jsonl"))
    prediction.unlink()
    prediction.symlink_to(runs.parent / "secret.txt")
    (runs / "replay/events.jsonl").symlink_to("/etc/hostname")
    outside = write_run(runs.parent / "outside", "sequential")
    (runs / "linked").symlink_to(outside)
    client = started(runs)
    index = client.get("/")[2]
    found = numbers(index)
    assert "runs/linked" not in found and index.count("damaged") == 2
    for name in ("runs/kpig", "runs/replay"):
        status, _, page = client.get(f"/run/{found[name]}/page")
        assert status == 422 and "no plain file or folder" in page and SECRET not in page
    assert client.get("/compare/page")[0] == 422


def test_a_saved_page_is_no_link_and_no_giant(tmp_path, monkeypatch):
    (tmp_path / "real.html").write_text(SECRET)
    for name in ("linked", "large", "plain"):
        (tmp_path / name).mkdir()
    (tmp_path / "linked/compare.html").symlink_to(tmp_path / "real.html")
    (tmp_path / "large/compare.html").write_text("x" * 101)
    (tmp_path / "plain/compare.html").write_text("x")
    monkeypatch.setattr(shelves, "MOST_SAVED_BYTES", 100)
    roots = [tmp_path / name for name in ("linked", "large", "plain")]
    assert Shelf(roots).saved() == [tmp_path / "plain/compare.html"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_a_run_is_refused_and_never_waited_for(tmp_path):
    run = write_run(tmp_path / "run")
    os.mkfifo(run / "steps.jsonl")
    with pytest.raises(RunError, match="no plain file"):
        check_plain(run)


def test_many_runs_are_counted_and_not_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(shelves, "MOST_RUNS", 3)
    for number in range(5):
        write_run(tmp_path / str(number), seed=number)
    found = Shelf([tmp_path])
    assert len(found.runs()) == 3 and found.num_more == 2


def test_hostile_names_are_shown_as_text(tmp_path, started):
    name = "<img src=x onerror=alert(1)>"
    write_run(tmp_path / name, f"m:{SCRIPT}")
    client = started(tmp_path)
    for path in ("/", "/run/0/", "/run/0/page"):
        text = client.get(path)[2]
        assert "<img" not in text and "<script>alert" not in text


def test_the_server_is_on_this_machine_alone(runs, started):
    client = started(runs)
    others = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in others - {ADDRESS}:
        if not address.startswith("127."):
            with pytest.raises(OSError), socket.create_connection((address, client.port), timeout=2):
                pass


def test_what_is_asked_for_changes_nothing_in_the_runs(runs, started):
    def files():
        return {path: path.lstat().st_mtime_ns for path in runs.rglob("*")}

    before = files()
    client = started(runs)
    for path in ("/", "/run/0/page", "/run/1/page", "/run/2/page", "/compare/page"):
        client.get(path)
    assert files() == before


# The command.


def test_a_folder_that_is_not_there_and_a_port_that_is_taken_are_told(tmp_path):
    with pytest.raises(RunError, match="there is no such folder"):
        serve([tmp_path / "none"], 0, print)
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        taken.listen()
        with pytest.raises(RunError, match="give --port another one"):
            serve([tmp_path], taken.getsockname()[1], print)


def documented(first):
    """The words of the command in docs/compare.md that begins so, after `python -m`."""
    page = (Path(__file__).parents[1] / "docs/compare.md").read_text(encoding="utf-8")
    return next(shlex.split(line) for line in page.splitlines() if line.startswith(first))


def test_the_command_serves_until_it_is_stopped_and_its_help_loads_no_server(tmp_path):
    write_run(tmp_path / "runs/sweep/kpig")
    command = [sys.executable, "-m", *documented("kpig view")]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            url = re.search(r"http://\S+/", process.stdout.readline())[0]
            assert Client(url).get("/")[0] == 200
        finally:
            process.send_signal(2)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and told.strip() == "the server has stopped; runs go on without it"
    code = "import sys; sys.argv = ['kpig', 'view', '--help']\nfrom kpig.cli.commands import app\n"
    code += "try: app()\nfinally: print([m for m in ('starlette', 'uvicorn', 'torch') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Example: kpig view runs/sweep" in found.stdout and found.stdout.strip().endswith("[]")


def test_a_missing_package_is_told_with_what_to_install(tmp_path, monkeypatch):
    from kpig.errors import UsageError

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=r"pip install 'kpig\[view\]'"):
        serve([Path(tmp_path)], 0, print)
