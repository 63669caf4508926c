"""What handlers share: the world they see, the sum of their model calls, parts done only once."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from reveille.context import TaskContext
from reveille.model import Answer
from reveille.outcome import Outcome


class HandlerContext(TaskContext, Protocol):
    """`TaskContext`, and the model that the settings name for this task type."""

    @property
    def model_name(self) -> str:
        """The name behind the task type's `model_setting`, as the model server knows it."""


Handler = Callable[[Any, HandlerContext], Awaitable[Outcome]]


@dataclass(slots=True)
class Usage:
    """What the model calls of a task added up to; becomes part of processing_metadata."""

    model: str | None = None
    model_digest: str | None = None
    served_by: str | None = None
    model_calls: int = 0
    repaired_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    model_seconds: float = 0.0

    @classmethod
    def of(cls, answer: Answer[Any]) -> Self:
        """One call."""
        return cls(
            model=answer.model,
            model_digest=answer.digest,
            served_by=answer.served_by,
            model_calls=1,
            repaired_calls=int(answer.repaired),
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            model_seconds=round(answer.total_seconds, 6),
        )

    def add(self, other: "Usage") -> None:
        """Count the other's calls too; the model named is the last one."""
        self.model = other.model or self.model
        self.model_digest = other.model_digest or self.model_digest
        self.served_by = other.served_by or self.served_by
        self.model_calls += other.model_calls
        self.repaired_calls += other.repaired_calls
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.model_seconds = round(self.model_seconds + other.model_seconds, 6)

    def metadata(self) -> dict[str, Any]:
        """The fields by name, as JSON."""
        return asdict(self)


class Parts:
    """The finished parts of a task. A part that an earlier attempt saved is not done again."""

    def __init__(self, context: HandlerContext, saved: dict[str, Any]) -> None:
        self._context = context
        self._saved = saved
        self.usage = Usage()
        self.resumed = 0

    @classmethod
    async def load(cls, context: HandlerContext) -> Self:
        """With what earlier attempts of this task saved."""
        return cls(context, await context.checkpoints())

    def has(self, key: str) -> bool:
        """Whether an earlier attempt finished that part."""
        return key in self._saved

    def recall(self, key: str) -> Any:
        """The result of a part that an earlier attempt finished."""
        self.resumed += 1
        self.usage.add(Usage(**self._saved[key]["usage"]))
        return self._saved[key]["result"]

    async def once(self, key: str, work: Callable[[], Awaitable[tuple[Any, Usage]]]) -> Any:
        """The part's result (a JSON value): saved before, or worked out now and saved."""
        if self.has(key):
            return self.recall(key)
        result, usage = await work()
        await self._context.checkpoint(key, {"result": result, "usage": usage.metadata()})
        self.usage.add(usage)
        return result

    def metadata(self) -> dict[str, Any]:
        """What the whole task used, earlier attempts included."""
        return {**self.usage.metadata(), "resumed_parts": self.resumed}
