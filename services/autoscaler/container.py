"""A container as one look sees it: its row, and the server that registered from inside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autoscaler.state import Phase, Replica

State = Literal["intended", "creating", "booting", "ready", "draining"]
ServerStatus = Literal["starting", "active", "draining", "inactive", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A live row. Ages in seconds by the database's clock.

    `server_id` is the registered server (None before its worker registered), `held` the tasks it
    is working on, `server_seconds` the time since its row last changed, `start_seconds` the time
    since the provider was asked for it, `stages_noted` how many of GPU, image and worker were seen.
    `wish` is an operator's, `wish_reason` the words that go with it.
    """

    container_id: int
    name: str
    pool: str
    slot: int
    provider: str
    state: State
    state_seconds: float = 0.0
    age_seconds: float = 0.0
    start_seconds: float | None = None
    stages_noted: int = 0
    was_ready: bool = False
    idle_noted: bool = False
    idle_seconds: float = 0.0
    wish: Literal["drain", "stop", "keep"] | None = None
    wish_reason: str | None = None
    waited_for_task_id: int | None = None
    server_id: str | None = None
    server_status: ServerStatus | None = None
    server_seconds: float | None = None
    slots: int = 0
    held: int = 0

    @property
    def server_lives(self) -> bool:
        """Whether its worker is there, taking tasks or not."""
        return self.server_status in {"starting", "active", "draining"}

    @property
    def unwanted(self) -> bool:
        """Whether an operator wants it to end."""
        return self.wish in {"drain", "stop"}

    @property
    def pinned(self) -> bool:
        """Whether an operator wants it to stay, however idle."""
        return self.wish == "keep"

    def replica(self) -> Replica:
        """As a policy sees it."""
        return Replica(
            name=self.name,
            phase=self._phase(),
            age_seconds=self.age_seconds,
            idle_seconds=self.idle_seconds,
            free_slots=max(0, self.slots - self.held) if self._takes_tasks() else 0,
            revivable=self._revivable(),
            pinned=self.pinned,
        )

    def _phase(self) -> Phase:
        if self.state == "draining":
            return "draining"
        if self.state != "ready":
            return "starting"
        return "busy" if self.held else "idle"

    def _takes_tasks(self) -> bool:
        return self.state == "ready" and self.server_status == "active"

    def _revivable(self) -> bool:
        return self._drains_still() and not self.unwanted

    def _drains_still(self) -> bool:
        return self.state == "draining" and self.server_status == "draining"


def container_of(row: Mapping[str, Any]) -> Container:
    """From a row of sql/look_containers.sql."""
    return Container(**{name: row[name] for name in Container.__dataclass_fields__})
