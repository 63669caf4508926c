"""What arrives: tasks with their moments, invented after pitch-deck traffic or read from a file.

Invented: founders upload in office hours of working days, often several decks at once; a deck is
one visual task, and when that is done five text tasks. The same seed gives the same month.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from pathlib import Path
from random import Random

from reveille.errors import ConfigurationError
from reveille.task import COMBINED
from reveille.task_types import TASK_TYPES

DAY_SECONDS = 86_400.0
TASKS_MAX = 20_000_000  # what fits into memory
SPAN_DAYS_MAX, SERVICE_DAYS_MAX = 3660, 30
OPENS_SECONDS, CLOSES_SECONDS = 8 * 3600.0, 20 * 3600.0
WEEKEND_SHARE = 0.2  # of a working day's documents
BATCH_MAX = 6
DEFAULT_POOL, EXTRACTION = "visual", "extraction"
ROUTES = {known.name: known.pool for known in TASK_TYPES} | {EXTRACTION: "text"}
VISUAL_SECONDS, TEXT_SECONDS, TEXT_TASKS = 90.0, 25.0, 5
SPREAD = 0.4  # of service times: sigma of a log-normal
# For traces that count tokens: a 7 B vision model on one card, prompt and answer.
PROMPT_TOKENS_PER_SECOND, ANSWER_TOKENS_PER_SECOND = 2000.0, 40.0


@dataclass(frozen=True, slots=True)
class Task:
    """One task: when it becomes claimable, and how long it occupies a slot."""

    arrival_s: float
    service_s: float
    priority: int = 1
    task_type: str = "visual_analysis"


Row = Mapping[str, str]
Reader = Callable[[Row], Task]


@dataclass(frozen=True, slots=True)
class Load:
    """Tasks by arrival; `followers[n]` become claimable when task n is done. `routes` names the
    pool of each task type, the visual one if it is not among them.
    """

    tasks: Sequence[Task]
    followers: Sequence[Sequence[Task]] = field(default_factory=tuple)
    routes: Mapping[str, str] = field(default_factory=dict)

    def pool_of(self, task_type: str) -> str:
        """The pool that serves a task type."""
        return self.routes.get(task_type, DEFAULT_POOL)

    @property
    def pools(self) -> list[str]:
        """The pools that get anything to do, the first ones first."""
        known = {task.task_type: None for task in self.tasks}
        known |= {task.task_type: None for some in self.followers for task in some}
        return list(dict.fromkeys(self.pool_of(name) for name in known))

    @property
    def combined(self) -> "Load":
        """The same with all task types in the pool that serves both families."""
        everything = {task.task_type for task in self.tasks}
        everything |= {task.task_type for some in self.followers for task in some}
        return Load(self.tasks, self.followers, dict.fromkeys(everything, COMBINED))

    @property
    def documents(self) -> int:
        """How many documents: of a trace, each task is one."""
        return len(self.tasks)


def pitch_decks(per_day: float, days: int, seed: int) -> Load:
    """`per_day` documents on average over a week. Raises ConfigurationError for a load of nothing."""
    if not (isfinite(per_day) and per_day > 0 and 0 < days <= SPAN_DAYS_MAX):
        raise ConfigurationError(
            f"documents per day and days must be more than 0, days at most {SPAN_DAYS_MAX}"
        )
    if per_day * days * (1 + TEXT_TASKS) > TASKS_MAX:
        raise ConfigurationError(
            f"{per_day:g} documents on {days} days are more than {TASKS_MAX:,} tasks: fewer days"
        )
    random = Random(seed)
    arrivals = sorted(_arrivals(random, per_day, days))
    visual = [Task(at, _around(random, VISUAL_SECONDS)) for at in arrivals]
    text = [
        tuple(Task(0.0, _around(random, TEXT_SECONDS), 1, EXTRACTION) for _ in range(TEXT_TASKS))
        for _ in arrivals
    ]
    return Load(visual, text, ROUTES)


def _arrivals(random: Random, per_day: float, days: int) -> Iterator[float]:
    working_day = per_day * 7 / (5 + 2 * WEEKEND_SHARE)
    mean_batch = sum(range(1, BATCH_MAX + 1)) / BATCH_MAX
    for day in range(days):
        documents = working_day * (WEEKEND_SHARE if day % 7 >= 5 else 1.0)
        at = day * DAY_SECONDS + OPENS_SECONDS
        gap = (CLOSES_SECONDS - OPENS_SECONDS) * mean_batch / documents
        while (at := at + random.expovariate(1 / gap)) < day * DAY_SECONDS + CLOSES_SECONDS:
            for _ in range(random.randint(1, BATCH_MAX)):
                yield at + random.uniform(0, 60)


def _around(random: Random, mean: float) -> float:
    return mean * random.lognormvariate(-SPREAD * SPREAD / 2, SPREAD)


def read_trace(path: Path, stretch: float = 1.0) -> Load:
    """A CSV with arrival_s,service_s[,priority,task_type] or TIMESTAMP,ContextTokens,
    GeneratedTokens; `stretch` slows its clock. Raises ConfigurationError naming the line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = csv.DictReader(lines)
            read = _reader(rows.fieldnames or (), path)
            tasks = [_checked(read, row, path, rows.line_num) for row in rows]
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no text in UTF-8: {error}") from None
    except csv.Error as error:
        raise ConfigurationError(f"{path} is no CSV: {error}") from None
    if not tasks:
        raise ConfigurationError(f"{path} holds no task")
    tasks.sort(key=lambda task: task.arrival_s)
    first = tasks[0].arrival_s
    days = (tasks[-1].arrival_s - first) * stretch / DAY_SECONDS
    if days > SPAN_DAYS_MAX:
        raise ConfigurationError(
            f"{path} spans {days:.3g} days, at most {SPAN_DAYS_MAX} are played"
        )
    return Load(
        [
            Task((t.arrival_s - first) * stretch, t.service_s, t.priority, t.task_type)
            for t in tasks
        ],
        routes=ROUTES,
    )


def _reader(columns: Sequence[str], path: Path) -> Reader:
    if {"arrival_s", "service_s"} <= set(columns):
        return _plain
    if {"TIMESTAMP", "ContextTokens", "GeneratedTokens"} <= set(columns):
        return _tokens
    raise ConfigurationError(
        f"{path}: expected the columns arrival_s,service_s[,priority,task_type] or "
        f"TIMESTAMP,ContextTokens,GeneratedTokens, not {','.join(columns)}"
    )


def _plain(row: Row) -> Task:
    return Task(
        float(row["arrival_s"]),
        float(row["service_s"]),
        int(row.get("priority") or 1),
        row.get("task_type") or "visual_analysis",
    )


def _tokens(row: Row) -> Task:
    at = datetime.fromisoformat(row["TIMESTAMP"][:26] + "+00:00").timestamp()
    prompt, answer = float(row["ContextTokens"]), float(row["GeneratedTokens"])
    return Task(at, prompt / PROMPT_TOKENS_PER_SECOND + answer / ANSWER_TOKENS_PER_SECOND)


def _checked(read: Reader, row: Row, path: Path, line: int) -> Task:
    try:
        task = read(row)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} line {line}: {error}") from None
    if not isfinite(task.arrival_s):
        raise ConfigurationError(f"{path} line {line}: arrival_s must be a number of seconds")
    if not 0 < task.service_s <= SERVICE_DAYS_MAX * DAY_SECONDS:
        raise ConfigurationError(
            f"{path} line {line}: service_s must be above 0 and at most {SERVICE_DAYS_MAX} days"
        )
    if task.task_type not in ROUTES:
        raise ConfigurationError(
            f"{path} line {line}: unknown task_type {task.task_type!r}; known are {', '.join(ROUTES)}"
        )
    if task.priority not in {1, 2, 3}:
        raise ConfigurationError(f"{path} line {line}: priority must be 1, 2 or 3")
    return task
