"""The next step in a container's life: pure, from its row, its server and what the provider says.

    intended → creating → booting → ready → draining → stopped | failed

The row comes first, then the provider is asked, then the row says so; a crash in between is
healed because the name is known and `create` is idempotent. Two witnesses say whether a container
lives, its worker's heartbeat and the provider's list; one that misses it, or cannot be asked, is
never enough to start a second one under its name.
"""

from dataclasses import dataclass
from enum import Enum

from autoscaler.container import Container
from autoscaler.provider import ProviderContainer, Stage, Trouble


class Act(Enum):
    """What to do next; the comment says how the row ends up."""

    CREATE = "create"  # creating, then booting
    BOOTED = "booted"  # booting: the provider runs it
    READY = "ready"  # ready: its worker takes tasks
    UNREADY = "unready"  # booting: its worker is there but out of service
    KEEP = "keep"  # ready: its worker, which was to finish, is to go on
    DRAIN = "drain"  # draining: its worker was told to finish
    STOP = "stop"  # stopped, when the provider has ended it
    FAIL = "fail"  # failed, likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An act and why, in words for the row. `even_busy`: what its worker still holds is no reason
    to wait, because it is dead or an operator said so.
    """

    act: Act
    reason: str
    ref: str | None = None
    even_busy: bool = False
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What the provider says of a name.

    `listed` is False when it could not be asked this time: then nothing follows from its silence.
    `misses` counts the answers in a row that lacked the name.
    """

    listed: bool
    container: ProviderContainer | None = None
    misses: int = 0

    @property
    def runs(self) -> bool:
        """Seen, and running."""
        return self.container is not None and self.container.state == "running"

    @property
    def exited(self) -> bool:
        """Seen, and ended."""
        return self.container is not None and self.container.state == "exited"

    @property
    def stage(self) -> Stage | None:
        """How far it has come; None when it was not seen."""
        return self.container.stage if self.container is not None else None

    @property
    def detail(self) -> str:
        """What the provider adds, as the end of a sentence."""
        detail = self.container.detail if self.container else ""
        return f": {detail}" if detail else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeLimits:
    """Seconds, and how many lists in a row may miss a container."""

    creating_seconds_max: float = 120.0
    startup_timeout_seconds: float = 300.0
    gpu_wait_seconds_max: float = 120.0  # created, and its provider has no GPU for it
    unresponsive_seconds_max: float = 60.0  # ready, and its server is lost
    leave_seconds_max: float = 10.0  # from a worker's goodbye to the end of its process
    settle_seconds: float = 30.0  # drained and holding nothing: its worker should have left
    misses_max: int = 3


def next_step(container: Container, sighting: Sighting, limits: LifeLimits) -> Step | None:
    """What to do with it now; None: wait."""
    match container.state:
        case "intended" | "creating":
            return _coming(container, sighting, limits)
        case "booting":
            return _booting(container, sighting, limits)
        case "ready":
            return _ready(container, sighting, limits)
        case "draining":
            return _draining(container, sighting, limits)


def _coming(container: Container, sighting: Sighting, limits: LifeLimits) -> Step | None:
    if container.unwanted:
        return _wished_to_stop(container)
    if container.state == "creating":
        if sighting.exited:
            return _ended_early(sighting)
        if sighting.runs and sighting.container is not None:
            ref = sighting.container.ref
            return Step(act=Act.BOOTED, reason="its provider runs it", ref=ref)
        if container.state_seconds >= limits.creating_seconds_max:
            return Step(
                act=Act.FAIL, reason=f"not created within {limits.creating_seconds_max:g} s"
            )
        if not sighting.listed:
            return None
    return Step(act=Act.CREATE, reason="asked of its provider")


def _booting(container: Container, sighting: Sighting, limits: LifeLimits) -> Step | None:
    if container.wish == "stop" or (container.wish == "drain" and not container.held):
        return _wished_to_stop(container)
    if sighting.exited:
        return _ended_early(sighting)
    if container.server_status in {"active", "draining"}:
        return Step(act=Act.READY, reason=f"{container.server_id} takes tasks")
    if sighting.misses >= limits.misses_max and not container.server_lives:
        return Step(act=Act.FAIL, reason="its provider has lost it")
    return _late(container, sighting, limits)


def _late(container: Container, sighting: Sighting, limits: LifeLimits) -> Step | None:
    """It boots for too long, or waits for a GPU for longer than it should."""
    if _waits_for_a_gpu_too_long(container, sighting, limits):
        reason = f"no GPU was free for it for {limits.gpu_wait_seconds_max:g} s{sighting.detail}"
        return Step(act=Act.FAIL, reason=reason, trouble="capacity")
    # One that was ready before starts its time anew; one that still holds tasks is left alone.
    waited = container.state_seconds if container.was_ready else container.start_seconds
    if (waited or 0.0) >= limits.startup_timeout_seconds and not container.held:
        return Step(
            act=Act.FAIL,
            reason=f"not ready {limits.startup_timeout_seconds:g} s after it was asked for"
            f"{sighting.detail}",
        )
    return None


def _waits_for_a_gpu_too_long(container: Container, sighting: Sighting, limits: LifeLimits) -> bool:
    return (
        sighting.stage == "waiting"
        and not container.was_ready
        and not container.server_lives
        and (container.start_seconds or 0.0) >= limits.gpu_wait_seconds_max
    )


def _wished_to_stop(container: Container) -> Step:
    return Step(
        act=Act.STOP,
        reason=_wish(container),
        even_busy=container.wish == "stop",
    )


def _wish(container: Container) -> str:
    because = f" ({container.wish_reason})" if container.wish_reason else ""
    return f"an operator's wish: {container.wish}{because}"


def _ended_early(sighting: Sighting) -> Step:
    reason = f"it ended before it was ready{sighting.detail}"
    return Step(act=Act.FAIL, reason=reason, even_busy=True)


def _ready(container: Container, sighting: Sighting, limits: LifeLimits) -> Step | None:
    if container.wish == "stop" or (container.unwanted and not container.server_lives):
        return _wished_to_stop(container)
    if container.server_status == "inactive":
        return _gone(container, sighting, limits, f"{container.server_id} has left")
    if sighting.exited:
        return Step(act=Act.FAIL, reason=f"it ended by itself{sighting.detail}", even_busy=True)
    if container.server_status in {None, "lost"}:
        return _silent(container, sighting, limits)
    return _attended(container)


def _attended(container: Container) -> Step | None:
    """Its worker is there: whether it is to go on taking tasks."""
    if container.wish == "drain":
        return Step(act=Act.DRAIN, reason=_wish(container))
    if container.server_status == "draining":
        return Step(act=Act.DRAIN, reason=f"{container.server_id} drains")
    if container.server_status == "starting":
        return Step(act=Act.UNREADY, reason=f"{container.server_id} is out of service")
    return None


def _gone(container: Container, sighting: Sighting, limits: LifeLimits, reason: str) -> Step | None:
    """Its worker said goodbye and is about to end by itself: a signal would only cut that short."""
    waits = sighting.runs and (container.server_seconds or 0.0) < limits.leave_seconds_max
    return None if waits else Step(act=Act.STOP, reason=reason)


def _silent(container: Container, sighting: Sighting, limits: LifeLimits) -> Step | None:
    """Its worker is lost: it may come back, if only its connection broke."""
    if sighting.misses >= limits.misses_max:
        return Step(act=Act.FAIL, reason="its worker is silent and its provider has lost it")
    if sighting.stage == "waiting" and not container.held:
        reason = f"its worker is silent and its GPU was taken away{sighting.detail}"
        return Step(act=Act.FAIL, reason=reason, trouble="capacity")
    silent_seconds = container.server_seconds
    if silent_seconds is None:  # its row is gone: somebody deleted it
        silent_seconds = container.state_seconds
    if silent_seconds >= limits.unresponsive_seconds_max and not container.held:
        return Step(act=Act.FAIL, reason=f"its worker is silent for {silent_seconds:.0f} s")
    return None


def _draining(container: Container, sighting: Sighting, limits: LifeLimits) -> Step | None:
    if container.wish == "stop":
        return _wished_to_stop(container)
    if container.server_status == "inactive":
        return _gone(container, sighting, limits, "drained: its worker has left")
    if sighting.exited or not container.server_lives:
        reason = "drained: its worker is gone"
        return Step(act=Act.STOP, reason=reason, even_busy=sighting.exited)
    if container.server_status != "draining":
        # It left and was started again by its provider, which would go on for ever; or it was
        # taken for lost and came back, and may have begun a task since.
        act = Act.DRAIN if container.held else Act.STOP
        return Step(act=act, reason="its worker registered anew while it drained")
    if container.pinned:
        return Step(act=Act.KEEP, reason=_wish(container))
    settled = not container.held and container.state_seconds >= limits.settle_seconds
    return Step(act=Act.STOP, reason="drained: it holds no task") if settled else None
