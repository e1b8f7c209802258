"""What a model is asked to answer, as a pydantic model: the JSON schema of it that servers take."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, InstanceOf

Text = InstanceOf[str]
"""A text as JSON gave it. Pydantic's own refuses lone surrogates; whoever uses a text checks its letters."""

NOTES = ("title", "description", "default", "$defs")


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The schema without references, which some servers cannot follow, and without notes.

    The schema is part of what an answer is kept under: where it changes, answers that were paid for are asked
    again.
    """
    schema = model.model_json_schema(mode="serialization")
    return _plain(schema, schema.get("$defs", {}))


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    plain = {key: value for key, value in schema.items() if key not in NOTES}
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions)
    if "properties" in plain:
        plain["properties"] = {name: _plain(one, definitions) for name, one in plain["properties"].items()}
    return plain
