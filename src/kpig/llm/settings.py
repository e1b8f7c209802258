"""Where a server is and how to treat it; holds the name of the key's variable, never the key."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from kpig.errors import ConfigError
from kpig.llm.exchange import LlmError

URL_VARIABLE = "OPENAI_BASE_URL"
MODEL_VARIABLE = "OPENAI_MODEL"
VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True)
class HttpSettings:
    """An OpenAI-compatible server. Raises ConfigError listing every impossible value.

    `key_variable` names the environment variable that holds the key; "" is for servers without one.
    `timeout_s` bounds one attempt, `max_wait_s` the pause before a retry, also one that the server asked
    for; pauses begin near `backoff_s` and double. `limit_parameter` is how the server calls the limit of
    answer tokens.
    """

    base_url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    timeout_s: float = 120.0
    max_concurrency: int = 8
    max_retries: int = 5
    backoff_s: float = 1.0
    max_wait_s: float = 60.0
    limit_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def __post_init__(self) -> None:
        problems = [*_url_problems(self.base_url), *_name_problems(self), *_number_problems(self)]
        if problems:
            raise ConfigError("the language model's server: " + "; ".join(problems))


def settings_from(environment: Mapping[str, str] = os.environ, **given: Any) -> HttpSettings:
    """Settings with `base_url` and `model`, where not given, from OPENAI_BASE_URL and OPENAI_MODEL.

    Raises ConfigError when they are in neither place.
    """
    for name, variable in (("base_url", URL_VARIABLE), ("model", MODEL_VARIABLE)):
        value = given.get(name) or environment.get(variable)
        if not value:
            raise ConfigError(f"the language model's server: give {name}, or set {variable}")
        given[name] = value
    return HttpSettings(**given)


def read_key(settings: HttpSettings, environment: Mapping[str, str] = os.environ) -> str:
    """The key from its variable; "" for a server without one. Raises LlmError, which never shows it."""
    if not settings.key_variable:
        return ""
    key = environment.get(settings.key_variable, "").strip()
    if not key:
        raise LlmError(
            f"the environment variable {settings.key_variable} is not set; put the key of {settings.base_url} "
            'there, or set key_variable = "" for a server that needs none'
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise LlmError(
            f"the environment variable {settings.key_variable} holds no usable key: a key has no spaces, line "
            "breaks or letters outside ASCII"
        )
    return key


def _url_problems(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, has_host = urlsplit(""), False
    if "@" in url or "?" in url or "#" in url:
        return ["base_url has a user, a query or a fragment in it; a key belongs in the key's variable"]
    if parts.scheme not in ("http", "https") or not has_host:
        return ["base_url is no address; write for example https://example.org/v1"]
    return []


def _name_problems(settings: HttpSettings) -> list[str]:
    problems = []
    if not settings.model:
        problems.append("model is empty; give the name that the server knows")
    if settings.key_variable and not VARIABLE_NAME.fullmatch(settings.key_variable):
        problems.append(
            "key_variable is no name in capitals such as OPENAI_API_KEY; it names the variable that holds "
            "the key and is not the key itself"
        )
    if settings.limit_parameter not in ("max_tokens", "max_completion_tokens"):
        problems.append("limit_parameter is neither 'max_tokens' nor 'max_completion_tokens'")
    return problems


def _number_problems(settings: HttpSettings) -> list[str]:
    problems = [
        f"{name} must be above 0"
        for name in ("timeout_s", "backoff_s", "max_wait_s")
        if not getattr(settings, name) > 0
    ]
    if settings.max_concurrency < 1:
        problems.append("max_concurrency must be at least 1")
    if settings.max_retries < 0:
        problems.append("max_retries must be at least 0")
    return problems
