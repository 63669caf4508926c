"""The only module that moves tasks: one method per statement of `sql/`.

Every write of a worker carries the lease token of its claim; a write that touches no row means
that the lease is gone. Ends and claims share a round trip and a transaction (`turn`): completions
that arrive while one turn is in flight travel together in the next.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import asyncpg

from reveille.channels import LEADER_KEY, LEADER_SPACE
from reveille.database import retrying
from reveille.outcome import Done, Outcome, Reject, Release, ResultRow, Retry
from reveille.policy import backoff_seconds
from reveille.sql import alone, statement, together
from reveille.task import Claim, Priority

LOOK_LED_SECONDS_MAX = 5.0
_CLAIM_COLUMNS = itemgetter(*Claim.__dataclass_fields__)
NO_FLOORS: Mapping[tuple[str, int], int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A server's entry: `epoch` fences its claims and heartbeats, `presence_key` is its
    connection's advisory lock.
    """

    server_id: str
    epoch: int
    presence_key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEntry:
    """What a server says of itself when it registers."""

    server_id: str
    server_type: str
    pool: str
    task_types: Sequence[str]
    slots: int
    version: str
    container_id: str | None = None
    http_url: str | None = None
    has_presence: bool = True
    status: str = "starting"


@dataclass(frozen=True, slots=True)
class End:
    """An attempt that ended and how. `traceparent` is its process span, for the next attempt's
    link.
    """

    claim: Claim
    outcome: Outcome
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One report of progress by a running task. `record` adds a row to processing_progress."""

    claim: Claim
    percentage: int
    name: str
    message: str = ""
    status: str = "completed"
    data: Mapping[str, Any] | None = None
    record: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The lease tokens that still hold, and those of them whose reports were not written because
    somebody keeps the row locked.
    """

    ours: frozenset[int]
    locked: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a turn did: the status each accepted end led to, by task id, and the new claims."""

    settled: Mapping[int, str] = field(default_factory=dict)
    claims: Sequence[Claim] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The answer to a heartbeat. `lost` are lease tokens."""

    status: str
    lost: frozenset[int]
    waiting: bool


class Store:
    """Tasks and servers as a worker sees them."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        backoff_base_seconds: float = 2.0,
        backoff_max_seconds: float = 300.0,
        lock_grace_seconds: float = 60.0,
    ) -> None:
        self.pool = pool
        self._backoff_base_seconds = backoff_base_seconds
        self._backoff_max_seconds = backoff_max_seconds
        self._lock_grace_seconds = lock_grace_seconds
        # Monotonic: it may have claimed without our hearing of it.
        self.claim_failed_at = float("-inf")

    # Claim and settle

    async def claim(
        self, registration: Registration, task_types: Sequence[str], limit: int
    ) -> Sequence[Claim]:
        """Up to `limit` tasks of these types, best first."""
        return (await self.turn(registration, task_types, limit, ())).claims

    async def settle(self, ends: Sequence[End]) -> Mapping[int, str]:
        """End attempts. A task that is missing from the answer was no longer ours: nothing of it
        was written.
        """
        return (await self.turn(None, (), 0, ends)).settled

    async def turn(
        self,
        registration: Registration | None,
        task_types: Sequence[str],
        limit: int,
        ends: Sequence[End],
        *,
        floors: Mapping[tuple[str, int], int] = NO_FLOORS,
        elsewhere: Sequence[int] = (),
    ) -> Turn:
        """Settle `ends` and claim up to `limit` tasks, in one transaction; with `floors`, by type and
        priority, only tasks from these ids on. The tasks `elsewhere` are left to other servers for
        a while, if there are any that take them.

        Raises LockNotAvailableError when a row stays locked: other ends need not wait for it.
        Retried when the database went away: a turn that was committed without our hearing of it
        settles nothing the second time (its tokens are used up), and its claims go back when their
        server is found not to hold them: `claim_failed_at` lets the heartbeat look.
        """

        with_results = any(isinstance(e.outcome, Done) and e.outcome.results for e in ends)

        async def attempt() -> Turn:
            try:
                async with (
                    self.pool.acquire() as connection,
                    connection.transaction() if with_results else nullcontext(),
                ):
                    turn = await self._turn(
                        connection, registration, task_types, limit, ends, floors, elsewhere
                    )
                    if with_results:
                        await self._write_results(connection, ends, turn.settled)
                    return turn
            except BaseException:
                if limit > 0:
                    self.claim_failed_at = time.monotonic()
                raise

        return await retrying(attempt, unless=asyncpg.LockNotAvailableError)

    async def _turn(
        self,
        connection: asyncpg.Connection,
        registration: Registration | None,
        task_types: Sequence[str],
        limit: int,
        ends: Sequence[End],
        floors: Mapping[tuple[str, int], int],
        elsewhere: Sequence[int],
    ) -> Turn:
        claim = "claim_above" if floors or elsewhere else "claim"
        claim_arguments: tuple[Any, ...] = ()
        if registration is not None and limit > 0:
            claim_arguments = (
                registration.server_id,
                registration.epoch,
                list(task_types),
                limit,
                self._lock_grace_seconds,
            )
            if floors or elsewhere:
                every = [(name, priority) for name in task_types for priority in Priority]
                claim_arguments += ([floors.get(key, 0) for key in every], elsewhere)
        if not ends:
            if not claim_arguments:
                return Turn()
            rows = await connection.fetch(alone(claim), *claim_arguments)
            return Turn(claims=_in_order(rows))
        settle_arguments = self._settle_arguments(ends)
        if not claim_arguments:
            rows = await connection.fetch(statement("settle"), *settle_arguments)
            return Turn(settled={row["task_id"]: row["status"] for row in rows})
        rows = await connection.fetch(
            together(claim, "settle"), *claim_arguments, *settle_arguments
        )
        return Turn(
            settled={row["settled_id"]: row["settled_status"] for row in rows if row["settled_id"]},
            claims=_in_order([row for row in rows if not row["settled_id"]]),
        )

    def _settle_arguments(self, ends: Sequence[End]) -> tuple[list[Any], ...]:
        described = [_describe(end.outcome) for end in ends]
        return (
            [end.claim.task_id for end in ends],
            [end.claim.lease_token for end in ends],
            [kind for kind, _, _ in described],
            [reason for _, reason, _ in described],
            [None if error is None else _storable(error) for _, _, error in described],
            [self._backoff(end) for end in ends],
            [
                dict(e.outcome.metadata) or None if isinstance(e.outcome, Done) else None
                for e in ends
            ],
            [e.outcome.results_file_path if isinstance(e.outcome, Done) else None for e in ends],
            [end.traceparent for end in ends],
        )

    def _backoff(self, end: End) -> float:
        if not isinstance(end.outcome, Retry):
            return 0.0
        if end.outcome.after_seconds is not None:
            return end.outcome.after_seconds
        return backoff_seconds(
            end.claim.attempt - 1,
            base_seconds=self._backoff_base_seconds,
            max_seconds=self._backoff_max_seconds,
        )

    async def _write_results(
        self, connection: asyncpg.Connection, ends: Sequence[End], settled: Mapping[int, str]
    ) -> None:
        for end in ends:
            if isinstance(end.outcome, Done) and end.claim.task_id in settled:
                await self._insert_rows(connection, end.claim, end.outcome.results)

    @staticmethod
    async def _insert_rows(
        connection: asyncpg.Connection, claim: Claim, rows: Sequence[ResultRow]
    ) -> None:
        by_table: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_table.setdefault(row.table, []).append(
                {**row.values, "task_id": claim.task_id, "document_id": claim.document_id}
            )
        for table, values in by_table.items():
            await connection.execute(statement(f"insert_{table}"), _storable(values))

    # Servers

    async def register(self, entry: ServerEntry) -> Registration:
        """Enter a server or take its row over; what its predecessor under this id held goes back."""
        async with self.pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                statement("register_server"),
                entry.server_id,
                entry.server_type,
                entry.container_id,
                dict.fromkeys(entry.task_types, True),
                entry.slots,
                entry.pool,
                entry.version,
                entry.http_url,
                entry.has_presence,
                entry.status,
            )
            # Only its own: after an outage the others have not had the time to speak.
            await connection.fetch(
                "SELECT * FROM reveille_recover_tasks(only_server => $1)", entry.server_id
            )
        return Registration(
            server_id=entry.server_id, epoch=row["epoch"], presence_key=row["presence_key"]
        )

    async def presence_key(self, server_id: str) -> int | None:
        """The advisory lock of a server that is known already."""
        key: int | None = await self.pool.fetchval(
            "SELECT presence_key FROM processing_servers WHERE id = $1", server_id
        )
        return key

    async def set_status(self, registration: Registration, status: str, reason: str | None) -> bool:
        """What the server says of itself; False when it was declared lost."""
        said = await retrying(
            lambda: self.pool.fetchval(
                statement("set_server_status"),
                registration.server_id,
                registration.epoch,
                status,
                reason,
            )
        )
        return said is not None

    async def retire(
        self, registration: Registration, reason: str, *, only_when_draining: bool = False
    ) -> bool:
        """The server goes away in good order; False when somebody un-drained it meanwhile (or it
        was replaced).
        """
        changed = await self.pool.fetchval(
            statement("retire_server"),
            registration.server_id,
            registration.epoch,
            reason,
            only_when_draining,
        )
        return changed is not None

    # Progress and checkpoints

    async def report(self, steps: Sequence[Step]) -> Reported:
        """Write progress: the latest of each attempt, and every step that asks for a row. Does not
        wait for rows that others keep locked. Sent again when the connection broke: where only the
        answer was lost, such a step has two rows.
        """
        latest = {step.claim.lease_token: step for step in steps}
        recorded = [step for step in steps if step.record]

        rows = await retrying(
            lambda: self.pool.fetch(
                statement("progress"),
                [s.claim.task_id for s in latest.values()],
                [s.claim.lease_token for s in latest.values()],
                [s.percentage for s in latest.values()],
                [_storable(s.name) for s in latest.values()],
                [_storable(s.message) for s in latest.values()],
                *_step_columns(recorded),
            )
        )
        return Reported(
            ours=frozenset(row["lease_token"] for row in rows),
            locked=frozenset(row["lease_token"] for row in rows if row["locked"]),
        )

    async def save_checkpoint(self, claim: Claim, key: str, value: Any) -> bool:
        """Keep a finished part of a task; False when the lease is gone."""
        kept = await retrying(
            lambda: self.pool.fetchval(
                statement("save_checkpoint"),
                claim.task_id,
                claim.lease_token,
                key,
                _storable(value),
            )
        )
        return kept is not None

    async def load_checkpoints(self, task_id: int) -> dict[str, Any]:
        """What earlier attempts of the task finished, by key."""
        rows = await retrying(lambda: self.pool.fetch(statement("load_checkpoints"), task_id))
        return {row["key"]: row["value"] for row in rows}

    # What handlers read

    async def visual_results(self, document_id: int) -> list[dict[str, Any]]:
        """The document's slides as its newest visual analysis saw them."""
        rows = await retrying(lambda: self.pool.fetch(statement("visual_results"), document_id))
        return [dict(row) for row in rows]

    async def load_template(self, template_id: str | None) -> dict[str, Any] | None:
        """The analysis template with its id and name, or None."""
        row = await retrying(lambda: self.pool.fetchrow(statement("load_template"), template_id))
        return None if row is None else {**row["definition"], "id": row["id"], "name": row["name"]}

    async def load_document(self, document_id: int) -> bytes | None:
        """The bytes that `documents` holds under this id."""
        content: bytes | None = await retrying(
            lambda: self.pool.fetchval(statement("load_document"), document_id)
        )
        return content

    async def parent_traces(self, task_id: int) -> list[str]:
        """Trace contexts of the tasks that this one depended on."""
        rows = await self.pool.fetch(statement("parent_traces"), task_id)
        return [row["process_traceparent"] for row in rows]

    # Looking again

    async def look_horizon(self) -> int:
        """The first transaction id that nobody has yet."""
        horizon: int = await self.pool.fetchval(statement("look_horizon"))
        return horizon

    async def look_settled(self, horizon: int) -> bool:
        """Whether all transactions before `horizon` have ended."""
        settled: bool = await self.pool.fetchval(statement("look_settled"), horizon)
        return settled

    async def lowest_claimable(self, task_types: Sequence[str]) -> Mapping[tuple[str, int], int]:
        """Of each type and priority the lowest id that can be claimed, or else the newest task's."""
        rows = await self.pool.fetch(statement("lowest_claimable"), list(task_types))
        return {(row["task_type"], row["priority"]): row["id"] for row in rows}

    async def is_led(self) -> bool:
        """Whether an autoscaler leads: it holds its lock for as long as its connection lives."""
        led: bool = await self.pool.fetchval(
            statement("look_led"), LEADER_SPACE, LEADER_KEY, timeout=LOOK_LED_SECONDS_MAX
        )
        return led

    def connection(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """A pooled connection, for the few who speak SQL of their own (services' own sql folders)."""
        return self.pool.acquire()  # type: ignore[no-any-return]


def _describe(outcome: Outcome) -> tuple[str, str | None, str | None]:
    match outcome:
        case Done():
            return "done", None, None
        case Retry(reason=reason, error=error):
            return "retry", reason, error
        case Reject(reason=reason, error=error):
            return "reject", reason, error
        case Release(reason=reason, error=error):
            return "release", reason, error


def _step_columns(steps: Sequence[Step]) -> tuple[list[Any], ...]:
    return (
        [s.claim.task_id for s in steps],
        [s.claim.lease_token for s in steps],
        [_storable(s.name) for s in steps],
        [s.status for s in steps],
        [s.percentage for s in steps],
        [_storable(s.message) for s in steps],
        [None if s.data is None else _storable(dict(s.data)) for s in steps],
    )


def _in_order(rows: Sequence[Mapping[str, Any]]) -> Sequence[Claim]:
    claims = [Claim(*_CLAIM_COLUMNS(row)) for row in rows]
    claims.sort(key=lambda claim: (-claim.priority, claim.task_id))
    return claims


def _storable(value: Any) -> Any:
    """Postgres text and jsonb cannot hold NUL; decks and models can."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_storable(key): _storable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(entry) for entry in value]
    return value
