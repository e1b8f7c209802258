"""What every table of the configuration is, and the kinds of number that stand in them."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.config import JsonDict

Item = TypeVar("Item")
Listed = Annotated[tuple[Item, ...], Field(strict=False)]
"""A list in TOML or JSON, a tuple here."""


def _one_or_several(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """One complaint where pydantic has one for each kind that it could have been."""
    try:
        return read(value)
    except ValidationError:
        raise ValueError("expected a text, or a list of texts") from None


Places = Annotated[str | Listed[str], WrapValidator(_one_or_several)]
"""A path, or several."""

Count = Annotated[int, Field(ge=1)]
CountOrAll = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
"""What torch takes: a whole number of 64 bits with its sign."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]

AUTO: Literal["auto"] = "auto"
"""Leaves a setting to what is there: to counting, or to the machine."""


class Section(BaseModel):
    """A frozen table of the configuration that refuses keys it does not know, and values of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


COST = "cost"
"""Under this word a field keeps what it costs, beside its type and default."""


def cost(words: str) -> JsonDict:
    """What a key costs in time, memory or disk, for `Field(json_schema_extra=...)`."""
    return {COST: words}
