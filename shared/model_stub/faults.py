"""Ways to break an answer on demand, each seen on a real server or in the field.

A fault is added from the environment, by `POST /_stub/faults`, or by a test, and is spent by the
requests it matches. What a fault does to the text of an answer is here; what it does to the
connection is in `completion.py`.
"""

import random
from collections.abc import Callable, Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal[
    "busy_503",  # the scheduler's queue is full
    "error_500_eof",  # the runner died in mid-request
    "stream_eof",  # the same in mid-stream: 200, then an error as the last line
    "hang",  # accepted, never answered
    "cut_body",  # the connection drops in the middle of the body
    "done_false",  # HTTP 200 with cut text and done:false, as after a run of equal tokens
    "length_cut_json",  # done_reason length, JSON cut in the middle
    "invalid_values",  # JSON of the right shape with values out of every bound
    "wrong_schema",  # JSON of another shape
    "not_found_404",  # the model is not there
    "nested_400",  # the runner's own JSON error inside the error string
    "slow",  # an answer that takes `seconds` longer
]


class Fault(BaseModel):
    """One fault and whom it hits. Without conditions it hits the next `times` requests."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    times: int | None = Field(1, ge=1, description="how often; null for always")
    probability: float = Field(1.0, ge=0, le=1)
    seed: int | None = Field(None, description="makes the draws of `probability` repeatable")
    model: str | None = Field(None, description="only this model")
    contains: str | None = Field(None, description="only prompts with these words")
    seconds: float = Field(1.0, ge=0, description="of `slow`")


class _Armed:
    """A fault with its own dice and how many shots it has left."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times
        self.random = random.Random(fault.seed)

    def strikes(self, model: str, prompt: str) -> bool:
        fault = self.fault
        if fault.model is not None and fault.model != model:
            return False
        if fault.contains is not None and fault.contains not in prompt:
            return False
        if self.random.random() >= fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class FaultBook:
    """The faults that wait for their request. The first one that matches is taken."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._armed = [_Armed(fault) for fault in faults]

    def add(self, kind: FaultKind, **conditions: Any) -> None:
        """Arm one fault. Raises pydantic.ValidationError for unknown kinds or conditions."""
        self.arm(Fault(kind=kind, **conditions))

    def arm(self, fault: Fault) -> None:
        """Arm one fault."""
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        """Disarm all."""
        self._armed.clear()

    def waiting(self) -> list[Fault]:
        """What is armed, with what is left of `times`."""
        return [armed.fault.model_copy(update={"times": armed.left}) for armed in self._armed]

    def take(self, model: str, prompt: str) -> Fault | None:
        """The fault that this request suffers, if any."""
        for armed in self._armed:
            if armed.strikes(model, prompt):
                if armed.left == 0:
                    self._armed.remove(armed)
                return armed.fault
        return None


def spoil(kind: FaultKind, text: str, invalid: Callable[[], str]) -> str:
    """The answer's text as the fault leaves it. `invalid` makes a right shape with wrong values."""
    match kind:
        case "invalid_values":
            return invalid()
        case "wrong_schema":
            return '{"unexpected": true, "note": "this is not what the schema asked for"}'
        case "length_cut_json" | "done_false":
            return text[: max(1, len(text) // 2)]
        case _:
            return text
