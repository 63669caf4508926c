"""What a seed means: which tasks are submitted when, what is done to them, which faults strike.

Pure: the same seed and size give the same plan on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

Kind = Literal[
    "single",
    "pipeline",  # enqueue_document: eleven tasks with dependencies
    "chain",  # a → b → c
    "fan",  # c waits for a and b, for b whatever its end
    "scheduled",
    "bad_options",
    "bad_pdf",
    "no_document",
    "poison",  # kills whoever works on it
]
Meddling = Literal["cancel", "fail", "complete", "requeue", "redrive", "delete", "claim"]

KINDS: Sequence[tuple[Kind, int, int]] = (  # kind, weight, tasks
    ("single", 60, 1),
    ("pipeline", 4, 11),
    ("chain", 8, 3),
    ("fan", 8, 3),
    ("scheduled", 8, 1),
    ("bad_options", 2, 1),
    ("bad_pdf", 2, 1),
    ("no_document", 2, 1),
)
TASKS_OF: dict[Kind, int] = {kind: tasks for kind, _, tasks in KINDS} | {"poison": 1}
MEDDLINGS: Sequence[Meddling] = (
    *("cancel", "cancel", "cancel", "requeue", "redrive", "fail", "complete", "delete", "claim"),
)
MEDDLED_SHARE = 0.15
TASK_TYPES: Sequence[tuple[str, int]] = (
    ("visual_analysis", 4),
    ("slide_feedback", 3),
    ("company_offering_extraction", 2),
    ("startup_name_extraction", 2),
    ("healthcare_classification", 2),
    ("funding_amount_extraction", 2),
    ("deck_date_extraction", 4),
    ("template_analysis", 1),
    ("specialized_clinical", 1),
    ("specialized_science", 1),
    ("extractions_and_template", 1),
)
WORKER_SLOTS = ("visual-1", "visual-2", "text-1", "text-2")
SLOTS = (*WORKER_SLOTS, "monitor", "gateway", "autoscaler")
UNPLUGGABLE = "text-2"  # lives in a network namespace of its own, where that can be had

FAULTS: Sequence[tuple[str, int, Sequence[str]]] = (  # fault, weight, whom it may strike
    ("kill", 6, SLOTS),
    ("freeze_briefly", 3, SLOTS),
    ("freeze_beyond_lease", 3, WORKER_SLOTS),
    ("half_open", 3, SLOTS),
    ("cut_off", 2, SLOTS),
    ("sigterm", 2, SLOTS),
    ("sigterm_twice", 1, WORKER_SLOTS),
    ("postgres_crash", 2, ()),
    ("postgres_restart", 1, ()),
    ("end_sessions", 3, ()),
    ("exhaust_connections", 1, ()),
    ("slow_commits", 1, ()),
    ("idle_in_transaction", 2, ()),
    ("disk_full", 2, ()),
    ("unplug", 2, (UNPLUGGABLE,)),
    ("spoil_provider", 3, ()),
    ("kill_container", 2, ()),
    ("hold_wake_gate", 1, ()),
    ("kill_model", 3, ()),
    ("spoil_model", 3, ()),
    ("migrate", 1, ()),
    ("rolling_restart", 1, ()),
    ("kill_all_workers", 1, ()),
)
FAULT_NAMES = tuple(name for name, _, _ in FAULTS)
PAGES_MAX = 3
CLOCK_SHIFTS_SECONDS = (-86_400.0, 3_600.0, 31_536_000.0)
POISONS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One transaction of the backend. `pages` is the deck's length; `by_http` goes through the
    gateway instead; `open_seconds` is how long the transaction stays open before its commit.
    `meddling` follows `after_seconds` after it.
    """

    number: int
    at_seconds: float
    kind: Kind
    task_types: tuple[str, ...]
    priority: int
    pages: int
    by_path: bool
    by_http: bool
    open_seconds: float
    meddling: Meddling | None
    after_seconds: float

    @property
    def tasks(self) -> int:
        """How many rows it brings."""
        return TASKS_OF[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One fault: when, what, whom, for how long, and a number to draw details from."""

    at_seconds: float
    fault: str
    target: str
    seconds: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run. `wrong_clock` names the worker whose clock is off by `clock_shift_seconds`."""

    seed: int
    seconds: float
    submissions: tuple[Submission, ...]
    blows: tuple[Blow, ...]
    wrong_clock: str
    clock_shift_seconds: float

    @property
    def tasks(self) -> int:
        """Rows that the backend inserts."""
        return sum(submission.tasks for submission in self.submissions)


def plan_of(seed: int, *, tasks: int, seconds: float, blows: int, only: Sequence[str] = ()) -> Plan:
    """The plan of a seed: about `tasks` tasks over `seconds`, struck `blows` times.

    `only` names the faults to choose from; all when empty.
    """
    random = Random(seed)
    return Plan(
        seed=seed,
        seconds=seconds,
        submissions=tuple(_submissions(random, tasks, seconds)),
        blows=tuple(_blows(random, blows, seconds, only)),
        wrong_clock=random.choice(WORKER_SLOTS),
        clock_shift_seconds=random.choice(CLOCK_SHIFTS_SECONDS),
    )


def _submissions(random: Random, tasks: int, seconds: float) -> list[Submission]:
    kinds: list[Kind] = ["poison"] * POISONS
    names, weights = [kind for kind, _, _ in KINDS], [weight for _, weight, _ in KINDS]
    while sum(TASKS_OF[kind] for kind in kinds) < tasks:
        kinds += random.choices(names, weights)
    random.shuffle(kinds)
    moments = sorted(random.uniform(0, seconds) for _ in kinds)
    return [
        _submission(random, number, at_seconds, kind)
        for number, (kind, at_seconds) in enumerate(zip(kinds, moments, strict=True))
    ]


def _submission(random: Random, number: int, at_seconds: float, kind: Kind) -> Submission:
    types = random.choices([n for n, _ in TASK_TYPES], [w for _, w in TASK_TYPES], k=3)
    meddled = kind in {"single", "chain", "fan", "scheduled"} and random.random() < MEDDLED_SHARE
    return Submission(
        number=number,
        at_seconds=at_seconds,
        kind=kind,
        task_types=tuple(types),
        priority=random.choices((1, 2, 3), (8, 2, 1))[0],
        pages=random.randint(1, PAGES_MAX),
        by_path=random.random() < 0.3,
        by_http=kind == "single" and random.random() < 0.3,
        open_seconds=random.choices((0.0, random.uniform(0, 1.5)), (9, 1))[0],
        meddling=random.choice(MEDDLINGS) if meddled else None,
        after_seconds=random.uniform(0, 4),
    )


def _blows(random: Random, count: int, seconds: float, only: Sequence[str]) -> list[Blow]:
    chosen = [fault for fault in FAULTS if not only or fault[0] in only]
    # The load comes first for a moment, and no fault strikes an empty stage at the end.
    moments = sorted(random.uniform(1.0, seconds) for _ in range(count))
    blows = []
    for at_seconds in moments:
        fault, _, targets = random.choices(chosen, [weight for _, weight, _ in chosen])[0]
        blows.append(
            Blow(
                at_seconds=at_seconds,
                fault=fault,
                target=random.choice(targets) if targets else "",
                seconds=random.uniform(1.0, 5.0),
                seed=random.randrange(2**32),
            )
        )
    return blows
