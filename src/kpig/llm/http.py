"""Answers from an OpenAI-compatible server, with retries, by several threads at a time.

The retries are ours and the client's own are off (`max_retries=0`), because the client's
- are out of sight: each attempt must fit into the budget before it is sent, and counts there in full where
  the server may have computed an answer that never came;
- end at the headers: a body that is cut off, endless or no chat completion is an answer to it;
- give a request up whose Retry-After is beyond a limit of the client's (two minutes in openai 3); ours wait
  `max_wait_s` at most and try again;
- sleep through an interruption, and try a server that was never reached as patiently as one that stumbles.
"""

import json
import logging
import os
import random
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from pydantic import SecretStr

from kpig.errors import clause
from kpig.llm import trouble, wire
from kpig.llm.backend import Deliver
from kpig.llm.budget import Budget
from kpig.llm.exchange import BUDGET, Answer, Failure, LlmError, Outcome, Request
from kpig.llm.form import Form
from kpig.llm.reply import detail, parse
from kpig.llm.settings import HttpSettings, read_key
from kpig.llm.trouble import Trouble
from kpig.llm.wire import Compressed, Post, Refused

log = logging.getLogger(__name__)
NOTABLE_WAIT_S = 5.0
"""Seconds from which a wait is told. Chosen: nobody wonders before."""

STOPPED = Failure("stopped", "the job ended before this request")
REFUSED_FORM = (400, 422)
"""Statuses of servers that refuse what a request holds; it is sent again in another form, if one is left."""

NO_CONNECTION = ("ConnectError", "ProxyError")
"""Exceptions of httpx for a connection that never came about: nothing was sent, so nothing is billed."""


class HttpModel:
    """A model behind an OpenAI-compatible HTTP interface.

    The key is read from the environment once, here, and shown by nothing. `rng` draws the
    jitter. Raises LlmError when the key or the `openai` package is missing.
    """

    def __init__(
        self,
        settings: HttpSettings,
        environment: Mapping[str, str] = os.environ,
        rng: random.Random | None = None,
    ):
        self.settings = settings
        self.model = settings.model
        self._rng = rng or random.Random()
        self._key = SecretStr(read_key(settings, environment))
        wire.require_client()
        self._answered = False
        self._form = Form(settings.limit_parameter)
        self._failures_in_a_row = 0
        self._num_timed_out = 0
        self._num_on_the_wire = 0
        self._lock = threading.Lock()

    def answer(self, requests: Sequence[Request], deliver: Deliver, budget: Budget) -> None:
        """Deliver outcomes as they come, at most `max_concurrency` requests at a time.

        When the job fails or is interrupted, nothing new is sent, and what is on its way is waited for
        and delivered. Raises LlmError for a rejected key, an unknown model, a redirect, a server out of
        reach, and after `max_failures` requests in a row without an answer.
        """
        with wire.opened(self.settings, self._key) as post:
            self._answer(requests, deliver, budget, post)

    def _answer(self, requests: Sequence[Request], deliver: Deliver, budget: Budget, post: Post) -> None:
        stop = threading.Event()

        def answer_one(index: int) -> None:
            outcome = self._ask(requests[index], budget, stop, post)
            if outcome is not STOPPED:
                deliver(index, outcome)

        pool = ThreadPoolExecutor(self.settings.max_concurrency, thread_name_prefix="kpig-llm")
        try:
            futures = [pool.submit(answer_one, index) for index in range(len(requests))]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException as error:
            stop.set()
            if not isinstance(error, Exception):  # a signal that whoever called us has made an exception of
                self._tell_interrupt()
            raise
        finally:
            stop.set()
            pool.shutdown(wait=True)

    def _ask(self, request: Request, budget: Budget, stop: threading.Event, post: Post) -> Outcome:
        """Attempts until there is an answer, no hope, no retry left or no budget."""
        form, retry = self._form, 0
        while not stop.is_set():
            if not budget.reserve(request):
                return Failure(BUDGET, "not sent: the budget is spent")
            result = self._paid_attempt(request, form, budget, post)
            if isinstance(result, Answer):
                self._keep(form, request)
                return result
            other = form.without(result.failure.detail, request, self.settings.limit_parameter)
            if result.status in REFUSED_FORM and other is not None:
                form = other
                continue
            if result.failure.reason == "timeout":
                self._tell_timeout(result, retry)
            spent = retry == self.settings.max_retries
            self._raise_if_hopeless(result, spent)
            if spent or not result.again:
                self._count_failure(result)
                return result.failure
            pause = self._pause(result, retry)
            retry += 1
            self._tell_wait(result, pause, retry)
            stop.wait(pause)
        return STOPPED

    def _keep(self, form: Form, request: Request) -> None:
        """After an answer: later requests begin with the form that had it, and what it left out is told."""
        with self._lock:
            self._answered = True
            self._failures_in_a_row = 0
            before, self._form = self._form, self._form.learned(form, request)
            changes = self._form.changes(before)
        for parameter, what in changes.items():
            log.warning("%s refuses '%s': %s", self.settings.base_url, parameter, what)

    def _raise_if_hopeless(self, result: Trouble, spent: bool) -> None:
        if result.hopeless and (result.certain or not self._answered or (result.again and spent)):
            raise LlmError(result.hopeless)

    def _count_failure(self, result: Trouble) -> None:
        """End the job where requests fail one after another: more of them would only cost.

        A request that was refused for what it holds says nothing of the next one, once there were answers.
        """
        if not result.again and self._answered:
            return
        with self._lock:
            self._failures_in_a_row += 1
            ends = self._failures_in_a_row >= self.settings.max_failures
        if ends:
            raise LlmError(
                trouble.gives_up(self.settings.base_url, self.settings.max_failures, result.failure)
            )

    def _pause(self, result: Trouble, retry: int) -> float:
        settings = self.settings
        return trouble.wait_before(retry, result.wait_s, settings.backoff_s, settings.max_wait_s, self._rng)

    def _tell_timeout(self, result: Trouble, retry: int) -> None:
        """Say each: a server that hangs is else silent for as long as all attempts take together."""
        with self._lock:
            self._num_timed_out += 1
            count = self._num_timed_out
        attempts = f"attempt {retry + 1} of {self.settings.max_retries + 1} at a request"
        # One text with its number in it: of messages that a format makes alike only the first is shown.
        log.warning(f"{self.settings.base_url}: {result.failure.detail}: {attempts}, time-out {count} so far")

    def _tell_interrupt(self) -> None:
        with self._lock:
            count = self._num_on_the_wire
        if count:
            log.warning(
                "interrupted; waiting up to %g s for %d answers that may be paid for; Ctrl-C again ends now",
                self.settings.timeout_s,
                count,
            )

    def _tell_wait(self, result: Trouble, pause: float, retry: int) -> None:
        """Say a wait that is long, or shorter than the server asked for by as much."""
        if max(pause, result.wait_s) < NOTABLE_WAIT_S:
            return
        asked = f", which asks for {result.wait_s:.0f} s" if result.wait_s else ""
        log.warning(
            "%s: %s%s; waiting %.0f s, then retry %d of %d (no wait is longer than %.0f s)",
            self.settings.base_url,
            clause(result.failure.detail or result.failure.reason),
            asked,
            pause,
            retry,
            self.settings.max_retries,
            self.settings.max_wait_s,
        )

    def _paid_attempt(self, request: Request, form: Form, budget: Budget, post: Post) -> Answer | Trouble:
        result: Answer | Trouble | None = None
        with self._lock:
            self._num_on_the_wire += 1
        try:
            result = self._attempt(request, form, post)
            return result
        finally:
            with self._lock:
                self._num_on_the_wire -= 1
            answer = result if isinstance(result, Answer) else None
            billed = isinstance(result, Trouble) and result.may_be_billed
            budget.settle(request, answer, may_be_billed=billed)

    def _attempt(self, request: Request, form: Form, post: Post) -> Answer | Trouble:
        """One request on the wire. The client's exceptions carry headers, so they end here."""
        import openai

        timeout_s = self.settings.timeout_s
        try:
            body = form.body(self.settings.model, request)
            return parse(post(body), request, self._key.get_secret_value())
        except (openai.APITimeoutError, TimeoutError):
            return trouble.timed_out(timeout_s)
        except openai.APIConnectionError as error:
            return self._no_answer(error.__cause__ or error)
        except (Refused, Compressed) as error:  # openai 2 makes a connection error of it, openai 3 leaves it
            return self._no_answer(error)
        except _transport_errors() as error:
            is_timeout = "Timeout" in type(error).__name__
            return trouble.timed_out(timeout_s) if is_timeout else trouble.cut_off(type(error).__name__)
        except ValueError as error:
            return trouble.malformed(self._clean(str(error)))

    def _no_answer(self, cause: BaseException) -> Trouble:
        """What stands behind the client's "connection error"."""
        if isinstance(cause, Refused):
            return self._refusal(cause)
        if isinstance(cause, Compressed):
            return trouble.compressed(self.settings.base_url, self._clean(str(cause)))
        if type(cause).__name__ in NO_CONNECTION:
            return trouble.unreachable(self.settings.base_url, self._clean(str(cause)))
        return trouble.cut_off(type(cause).__name__)

    def _refusal(self, error: Refused) -> Trouble:
        status, url = error.status, self.settings.base_url
        if 300 <= status < 400:
            return trouble.redirected(url, status, self._clean(error.headers.get("location", "")))
        code, words = _code_and_words(error.body)
        if status in REFUSED_FORM and (parameter := _parameter(error.body)) not in words:
            words = f"{words} ({parameter})"
        words = self._clean(words)
        if status in (401, 403):
            return trouble.rejected_key(url, self.settings.key_variable, status)
        if status == 404 or code == "model_not_found":
            return trouble.not_found(url, self.settings.model, f"HTTP {status}: {words}")
        return trouble.of_status(status, code, words, trouble.asked_wait(error.headers))

    def _clean(self, words: str) -> str:
        return detail(words, self._key.get_secret_value())


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the HTTP library under the client raises while a body is read; the client wraps none of it.

    openai 2 stands on httpx, openai 3 on httpx2.
    """
    loaded = (sys.modules.get(name) for name in ("httpx", "httpx2"))
    return tuple(library.HTTPError for library in loaded if library is not None)


def _parameter(body: bytes) -> str:
    """The parameter that an error's body names beside its words, as OpenAI does; "" for none."""
    try:
        named = json.loads(body)["error"]["param"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return named if isinstance(named, str) else ""


def _code_and_words(body: bytes) -> tuple[str, str]:
    """The error code and message of an error's body, whatever its form."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return "", body.decode(errors="replace")
    if not isinstance(value, dict):
        return "", str(value or "")
    error = value.get("error")
    inner = error if isinstance(error, dict) else value
    words = next((inner[name] for name in ("message", "detail", "error") if inner.get(name)), "")
    return str(inner.get("code") or ""), str(words)
