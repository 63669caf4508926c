"""The bases of everything that goes into a route and comes out of it."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from reveille.task import Priority

T = TypeVar("T")

Id = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]  # bigint


def _split(value: object) -> object:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def not_a_truth_value(value: object) -> object:
    """Before a number is read: true and false would pass for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("neither true nor false can stand here")  # noqa: TRY004 - pydantic asks for it
    return value


SentPriority = Annotated[Priority, BeforeValidator(not_a_truth_value)]

# A query parameter that may name several values: ?status=queued,retry
Several = Annotated[tuple[T, ...], BeforeValidator(_split)]


class Params(BaseModel):
    """Values from the path and the query; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ById(Params):
    """A thing that is named by a number in the path."""

    id: Id


class Body(BaseModel):
    """A JSON object that is sent; unknown members are refused, and values of another type than the
    document says. This one itself stands for no body.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Answer(BaseModel):
    """A JSON object that is answered."""

    model_config = ConfigDict(frozen=True)
