"""What can go wrong with one attempt at a server, whether to try again, and how long to wait first."""

import email.utils
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from kpig.errors import clause
from kpig.llm.exchange import Failure

TRANSIENT = (408, 409, 425, 429)
"""Statuses that pass, beside all from 500 on: request time-out, conflict, too early, too many requests."""

REFUSED = "refused"
"""The reason of a failure that the server means: the same request would be refused again."""

NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")
"""OpenAI's error codes for an account without credit. They come with status 429, yet waiting does not
help."""


@dataclass(frozen=True)
class Trouble:
    """A failed attempt.

    `again`: another attempt may succeed. `hopeless`: what to tell the user when asking on is pointless;
    only `certain` before any answer was had from this server. `wait_s`: what the server asked for.
    """

    failure: Failure
    again: bool = False
    may_be_billed: bool = False
    hopeless: str = ""
    certain: bool = False
    status: int = 0
    wait_s: float = 0.0


def timed_out(timeout_s: float) -> Trouble:
    """No answer within the time allowed; the server may have computed one."""
    return Trouble(Failure("timeout", f"no answer within {timeout_s:g} s"), again=True, may_be_billed=True)


def cut_off(words: str) -> Trouble:
    """The connection broke after the request was sent."""
    return Trouble(Failure("connection", words), again=True, may_be_billed=True)


def unreachable(base_url: str, words: str) -> Trouble:
    """No connection came about."""
    message = (
        f"cannot connect to {base_url}: {clause(words)}. Check base_url, and that the server is running."
    )
    return Trouble(Failure("connection", words), again=True, hopeless=message)


def malformed(words: str) -> Trouble:
    """A success whose body is no chat completion."""
    return Trouble(Failure("malformed", words), again=True, may_be_billed=True)


def redirected(base_url: str, status: int, location: str) -> Trouble:
    """A 3xx. Followed, it would be a request beside the budget, and might carry the prompt to a stranger."""
    message = (
        f"{base_url} redirects to {location or 'no address'} (HTTP {status}), which is not followed: the "
        "prompt would go there too. If it is the server you mean, give its address as --base-url (base_url "
        "in a config)."
    )
    failure = Failure(REFUSED, f"HTTP {status}: a redirect, not followed")
    return Trouble(failure, hopeless=message, certain=True, status=status)


def compressed(base_url: str, encoding: str) -> Trouble:
    """A body that is compressed although none was asked for."""
    message = (
        f"{base_url} compresses its answers (Content-Encoding: {encoding}) although it was asked not to; "
        "they are not unpacked, for a small one may fill the memory. Turn compression off in the server or "
        "the proxy before it."
    )
    return Trouble(Failure("malformed", f"compressed ({encoding})"), may_be_billed=True, hopeless=message)


def gives_up(base_url: str, count: int, last: Failure) -> str:
    """What to tell the user when requests fail one after another."""
    why = f"{last.reason}: {clause(last.detail)}" if last.detail else last.reason
    if last.reason == REFUSED:
        return (
            f"{base_url}: {count} requests in a row were refused or had no answer (the last: {why}); "
            "stopped. The server would refuse it again: mend what it names, take another model, or allow "
            "more of them with --max-failures (max_failures in a config)."
        )
    return (
        f"{base_url}: {count} requests in a row had no answer, each after its retries (the last: {why}); "
        "stopped. Answers so far are in the cache: give the same command again later to go on from them, or "
        "allow more with --retries, --timeout and --max-failures (max_retries, timeout_s and max_failures in "
        "a config)."
    )


def of_status(status: int, code: str, words: str, wait_s: float) -> Trouble:
    """An HTTP status that is no success, with the server's own error code and (cleaned) words."""
    text = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    if status == 402 or code in NO_CREDIT:
        message = (
            f"the account has no credit left ({clause(text)}). Top it up and run again: answers so far are "
            "kept."
        )
        return Trouble(Failure(REFUSED, text), hopeless=message, certain=True, status=status)
    if status in TRANSIENT or status >= 500:
        reason = "rate_limit" if status == 429 else "timeout" if status == 408 else "server_error"
        return Trouble(Failure(reason, text), again=True, status=status, wait_s=wait_s)
    return Trouble(Failure(REFUSED, text), status=status)


def rejected_key(base_url: str, key_variable: str, status: int) -> Trouble:
    """401 or 403. The server's words are left out: some quote a part of the key."""
    remedy = (
        f"set the environment variable {key_variable} to a valid key"
        if key_variable
        else "name the environment variable that holds one with --key-variable (key_variable in a config)"
    )
    message = f"{base_url} rejected the key (HTTP {status}); {remedy}, with access to the model."
    certain = status == 401
    return Trouble(Failure(REFUSED, f"HTTP {status}"), hopeless=message, certain=certain, status=status)


def not_found(base_url: str, model: str, words: str) -> Trouble:
    """404, or another status that says that there is no such model."""
    message = (
        f"{base_url} has no model {model!r}, or no chat completions ({clause(words)}). "
        "Check model and base_url; most base URLs end in /v1."
    )
    return Trouble(Failure(REFUSED, words), hopeless=message, certain=True, status=404)


def asked_wait(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date; 0 without a usable one."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def wait_before(retry: int, asked_s: float, first_s: float, longest_s: float, rng: random.Random) -> float:
    """Seconds before retry number `retry` (from 0): doubling with jitter, at least what was asked for.

    Never more than `longest_s`, whatever was asked for. Jitter halves the wait at most, so that
    requests which failed together do not come back together.
    """
    backoff = first_s * 2.0 ** min(retry, 30) * rng.uniform(0.5, 1.0)
    return min(longest_s, max(asked_s, backoff))
