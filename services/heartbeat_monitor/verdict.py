"""What the facts mean: pure, without clock, chance or I/O.

Two signs of death. A server that is silent for `lease_seconds` is lost, whoever it is. A worker
whose connection is gone for `presence_grace_seconds` is lost too, and that comes much sooner: a
killed process takes its connection with it. The grace lets a blip pass. While the database itself
was away nobody could be heard: for `outage_grace_seconds` after it nobody is judged.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from heartbeat_monitor.facts import Container, Facts, Server

PAUSE_SECONDS_MIN = 0.01  # a timer that rounding calls due a moment early
# Rounds take no more than a tenth of the time, if a crash is told within this by so seldom a look.
REST_FACTOR, CRASH_SECONDS_MAX = 9.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers the verdict goes by, in seconds."""

    lease_seconds: float = 30.0
    presence_grace_seconds: float = 3.0
    tick_seconds: float = 1.0
    outage_grace_seconds: float = 15.0
    audit_seconds: float = 300.0
    backstop_seconds: float = 300.0
    container_seconds_max: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A server to be declared lost in this registration, and why."""

    server_id: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do, and when to look again at the latest."""

    silent: tuple[Loss, ...] = ()
    disconnected: tuple[Loss, ...] = ()
    missing: tuple[str, ...] = ()  # connection gone: the grace begins
    back: tuple[str, ...] = ()  # connection there again: the grace ends
    recover: bool = False
    retries_due: bool = False
    clean: bool = False
    stuck: tuple[tuple[int, str], ...] = ()
    watchful: bool = False  # a worker's connection is gone: its grace ends soon
    pause_seconds: float


def judge(
    facts: Facts, limits: Limits, *, reachable_seconds: float = float("inf"), alert: bool = False
) -> Verdict:
    """The verdict on one look.

    `reachable_seconds` is how long the database has answered without a break, as far as this
    monitor saw; `alert` says that news came a moment ago.
    """
    fit_to_judge = reachable_seconds >= limits.outage_grace_seconds
    silent = [s for s in facts.servers if s.silent_seconds >= limits.lease_seconds]
    gone = [
        s
        for s in facts.servers
        if s not in silent
        and s.missing_seconds is not None
        and not s.present
        and s.missing_seconds >= limits.presence_grace_seconds
    ]
    losing = fit_to_judge and bool(silent or gone)
    return Verdict(
        silent=tuple(_loss(s, _silence(s)) for s in silent) if fit_to_judge else (),
        disconnected=tuple(_loss(s, _absence(s)) for s in gone) if fit_to_judge else (),
        missing=tuple(s.server_id for s in facts.servers if _just_gone(s)),
        back=tuple(
            s.server_id for s in facts.servers if s.present and s.missing_seconds is not None
        ),
        recover=fit_to_judge and (losing or facts.forsaken or _is_due(facts.lock_in_seconds)),
        retries_due=_is_due(facts.retry_in_seconds),
        clean=_is_due(facts.cleaning_in_seconds),
        watchful=any(_is_missing(server) for server in facts.servers),
        stuck=tuple(_stuck(facts.containers, limits)),
        pause_seconds=_pause(facts, limits, fit_to_judge=fit_to_judge, alert=alert or losing),
    )


def rest_seconds(took: float, limits: Limits, *, watchful: bool) -> float:
    """How long to rest after a round that took so long, whatever is heard.

    Beside an old snapshot a round walks over dead rows. From a crash to its recovery pass, at worst, the rest
    of a round, a rest, the round that sees the connection gone, the grace, and (`watchful`) a rest as long
    as a round and the round that gives up the worker.
    """
    if watchful:
        return took
    spare = CRASH_SECONDS_MAX - limits.presence_grace_seconds - 4 * took
    return min(took * REST_FACTOR, max(took, spare))


def _is_due(seconds: float | None) -> bool:
    return seconds is not None and seconds <= 0


def _is_missing(server: Server) -> bool:
    return server.has_presence and not server.present


def _just_gone(server: Server) -> bool:
    return _is_missing(server) and server.missing_seconds is None


def _loss(server: Server, reason: str) -> Loss:
    return Loss(server_id=server.server_id, epoch=server.epoch, reason=reason)


def _silence(server: Server) -> str:
    return f"no heartbeat for {server.silent_seconds:.0f} s"


def _absence(server: Server) -> str:
    return f"its connection is gone for {server.missing_seconds or 0:.1f} s"


def _stuck(containers: Iterable[Container], limits: Limits) -> Iterable[tuple[int, str]]:
    for container in containers:
        most = limits.container_seconds_max.get(container.state)
        if most is not None and container.state_seconds >= most and not container.marked:
            yield (
                container.container_id,
                f"{container.state} for {container.state_seconds:.0f} s, the limit is {most:.0f} s",
            )


def _pause(facts: Facts, limits: Limits, *, fit_to_judge: bool, alert: bool) -> float:
    """Until the earliest moment at which a verdict can differ without any news.

    What is due by now is being done; if it cannot be (somebody holds the row), the next tick
    tries again.
    """
    worker_listens = any(server.has_presence for server in facts.servers)
    missing = any(_is_missing(server) for server in facts.servers)
    # A claim tells nobody: while a worker may be about to claim, keep looking.
    busy = facts.processing > 0 or (facts.queued and worker_listens)
    eager = busy or missing or alert or not fit_to_judge
    timers = [limits.lease_seconds - server.silent_seconds for server in facts.servers]
    timers += [
        limits.presence_grace_seconds - s.missing_seconds
        for s in facts.servers
        if s.missing_seconds is not None and not s.present
    ]
    timers += [
        limits.container_seconds_max[c.state] - c.state_seconds
        for c in facts.containers
        if not c.marked and c.state in limits.container_seconds_max
    ]
    timers += [t for t in (facts.retry_in_seconds, facts.lock_in_seconds) if t is not None]
    pauses = [limits.tick_seconds if eager else limits.backstop_seconds]
    pauses += [timer if timer > 0 else limits.tick_seconds for timer in timers]
    if facts.cleaning_in_seconds is not None and facts.cleaning_in_seconds > 0:
        pauses.append(facts.cleaning_in_seconds)
    if facts.waiting:
        pauses.append(limits.audit_seconds)
    return max(PAUSE_SECONDS_MIN, min(pauses))
