"""The form of a request on the wire: which parameters go along, and which not, once a server refuses them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kpig.llm.exchange import Request

LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""How servers call the limit of answer tokens, and what to call it where one does not know the name."""

UNKNOWN = re.compile(
    r"max_tokens.*max_completion_tokens|max_completion_tokens.*max_tokens|support|unknown|unrecogni[sz]ed|"
    r"unexpected|not\s+(?:permitted|allowed)|forbidden|deprecated",
    re.IGNORECASE | re.DOTALL,
)
"""Words of a server that does not know a parameter. Others are about its value, as that it is too large."""


@dataclass(frozen=True)
class Form:
    """What goes along with the messages: the name of the limit, and whether temperature and schema do."""

    limit: str = "max_tokens"
    has_temperature: bool = True
    has_schema: bool = True

    def body(self, model: str, request: Request) -> dict[str, Any]:
        """The request as JSON values."""
        body: dict[str, Any] = {"model": model, "messages": request.messages}
        body[self.limit] = request.max_tokens
        if request.temperature is not None and self.has_temperature:
            body["temperature"] = request.temperature
        if request.seed is not None:
            body["seed"] = request.seed
        if request.json_schema is not None and self.has_schema:
            schema = {"name": "answer", "schema": dict(request.json_schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def without(self, words: str, request: Request, first_limit: str) -> "Form | None":
        """The form to try after a refusal in these words; None where there is nothing to leave out.

        What the words name is left out or renamed, else the schema is. `first_limit` is the name that the
        limit began with: it is changed once.
        """
        if self.limit == first_limit and _names(words, self.limit) and UNKNOWN.search(words):
            return replace(self, limit=LIMITS[self.limit])
        if self.has_temperature and request.temperature is not None and _names(words, "temperature"):
            return replace(self, has_temperature=False)
        if self.has_schema and request.json_schema is not None:
            return replace(self, has_schema=False)
        return None

    def learned(self, accepted: "Form", request: Request) -> "Form":
        """This form without what a request that was answered had to leave out."""
        return Form(
            limit=accepted.limit,
            has_temperature=self.has_temperature
            and (accepted.has_temperature or request.temperature is None),
            has_schema=self.has_schema and (accepted.has_schema or request.json_schema is None),
        )

    def changes(self, before: "Form") -> Mapping[str, str]:
        """What is no longer as in the form `before`, as phrases by parameter."""
        found = {}
        if self.limit != before.limit:
            found[before.limit] = f"the limit of answer tokens goes as '{self.limit}'"
        if self.has_temperature != before.has_temperature:
            found["temperature"] = "the server chooses it, so that answers may differ from time to time"
        return found


def _names(words: str, parameter: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(parameter)}(?!\w)", words) is not None
