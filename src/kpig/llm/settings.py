"""Where a server is and how to treat it; holds the name of the key's variable, never the key."""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from kpig.errors import ConfigError
from kpig.llm.exchange import LlmError

URL_VARIABLE = "OPENAI_BASE_URL"
MODEL_VARIABLE = "OPENAI_MODEL"
VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, has_host = urlsplit(""), False
    if "@" in url or "?" in url or "#" in url:
        raise ValueError(
            "base_url has a user, a query or a fragment in it; a key belongs in the key's variable"
        )
    if parts.scheme not in ("http", "https") or not has_host:
        raise ValueError("base_url is no address; write for example https://example.org/v1")
    return url


def _model_name(name: str) -> str:
    if not name:
        raise ValueError("model is empty; give the name that the server knows")
    return name


def _variable(name: str) -> str:
    if name and not VARIABLE_NAME.fullmatch(name):
        raise ValueError(
            "key_variable is no name in capitals such as OPENAI_API_KEY; it names the variable that holds "
            "the key and is not the key itself"
        )
    return name


Above0 = Annotated[float, Field(gt=0)]


class HttpSettings(BaseModel):
    """An OpenAI-compatible server. Raises ConfigError listing every impossible value, and showing none.

    `key_variable` names the environment variable that holds the key; "" is for servers without one.
    `timeout_s` bounds one attempt from its first byte to its last, `max_wait_s` the pause before a retry,
    also one that the server asked for; pauses begin near `backoff_s` and double. After `max_failures`
    requests in a row without an answer the job ends. `limit_parameter` is how the server calls the limit of
    answer tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    base_url: Annotated[str, AfterValidator(_address)]
    model: Annotated[str, AfterValidator(_model_name)]
    key_variable: Annotated[str, AfterValidator(_variable)] = "OPENAI_API_KEY"
    timeout_s: Above0 = 120.0
    max_concurrency: Annotated[int, Field(ge=1)] = 8
    max_retries: Annotated[int, Field(ge=0)] = 5
    max_failures: Annotated[int, Field(ge=1)] = 8
    backoff_s: Above0 = 1.0
    max_wait_s: Above0 = 60.0
    limit_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def __init__(self, base_url: str, model: str, **more: Any) -> None:
        problems = []
        try:
            super().__init__(base_url=base_url, model=model, **more)
        except ValidationError as error:
            problems = [_words(one) for one in error.errors()]
        if problems:  # Raised here, it does not drag the values along: one may be a key in the wrong place.
            raise ConfigError("the language model's server: " + "; ".join(problems))


def _words(problem: ErrorDetails) -> str:
    """What is wrong with one setting, without its value."""
    name, limits = problem["loc"][0], problem.get("ctx", {})
    match problem["type"]:
        case "value_error":
            return str(limits["error"])
        case "greater_than":
            return f"{name} must be above {limits['gt']:g}"
        case "greater_than_equal":
            return f"{name} must be at least {limits['ge']:g}"
        case "literal_error":
            return f"{name} is neither {limits['expected'].replace(' or ', ' nor ')}"
        case "extra_forbidden":
            return f"there is no setting {name}"
    return f"{name}: {problem['msg'].lower()}"


def settings_from(environment: Mapping[str, str] = os.environ, /, **given: Any) -> HttpSettings:
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
            f"the environment variable {settings.key_variable} is not set; put the key of "
            f"{settings.base_url} there, or give --key-variable '' (key_variable = \"\" in a config) for a "
            "server that needs none"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise LlmError(
            f"the environment variable {settings.key_variable} holds no usable key: a key has no spaces, "
            "line breaks or letters outside ASCII"
        )
    return key
