"""docs/soak-report.md, from the samples."""

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.soak.kept import Kept
from tests.soak.picture import picture
from tests.soak.sample import Sample, Waits
from tests.soak.verdict import filled, thirds, typical

PICTURE = Path("images") / "soak.svg"
MIB = 2**20


def write_page(kept: Kept, findings: Sequence[str], path: Path) -> None:
    """The page, and its picture beside it."""
    (path.parent / PICTURE).parent.mkdir(exist_ok=True)
    (path.parent / PICTURE).write_text(picture(kept))
    path.write_text(page(kept, findings))


def page(kept: Kept, findings: Sequence[str]) -> str:
    """Markdown."""
    setting, last = kept.setting, kept.samples[-1]
    beside = (setting.reader_until_seconds - setting.reader_from_seconds) / 60
    loads = [sample.load for sample in kept.samples]
    committed = f"{last.committed:,} tasks in {last.at_seconds / 60:.0f} minutes"
    lines = [
        "# Soak report",
        "",
        f"{committed} ({last.committed / last.at_seconds:.0f} a second), for {beside:.0f} minutes of them beside a "
        "transaction that keeps its snapshot open, so that vacuum may remove no row that died since. "
        + (
            "**Nothing lost, nothing doubled, nothing that should be flat grew.**"
            if not findings
            else "**Found:**"
        ),
        *(f"- {finding}" for finding in findings),
        "",
        f"`make soak MINUTES={setting.seconds / 60:g} RATE={setting.rate:g}` on "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"load {min(loads):.0f} to {max(loads):.0f} with all that it runs itself. "
        "Postgres with its default settings; gateway, monitor, "
        f"autoscaler, one visual and two text workers as processes, each under its own database role; "
        f"handlers that do nothing. Finished tasks move to the archive after {setting.archive_after_seconds:.0f} s.",
        "",
        f"![Waits, dead rows, sizes and memory over time]({PICTURE.as_posix()})",
        "",
        *_table(kept),
        "",
        *_requeued(kept),
        "",
        *_memory(kept),
        "",
        *MEMORY_FILLS,
        "",
        *_ends(kept),
        "",
        *WHAT_IT_SHOWS,
    ]
    return "\n".join(lines) + "\n"


MEMORY_FILLS = (
    "In its first quarter of an hour a worker takes some 14 MiB more, and then no more. Looked at once, for five",
    "minutes: it is not Python that grows (its blocks: 33.5 → 33.6 MB) but free room in the C library's heap",
    "(2.6 → 7.4 MiB, in use 17.2 → 17.3), parted by asyncio's reads of 256 KiB; with reads of 32 KiB it grew by a",
    "fifth of that, with `MALLOC_MMAP_THRESHOLD_=131072` not at all, for 15 to 20 % more CPU. So it is left as it",
    "is, and to be flat is asked of what comes after a third of the run.",
)
WHAT_IT_SHOWS = (
    "## What an old snapshot costs",
    "",
    "Dead rows pile up for as long as it is open: disk, and the time of whoever walks over them. It is paid back",
    "when the snapshot has gone and vacuum has come by: the files are filled again, or cut where their end is empty.",
    "A claim does not walk over them: a worker whose looks become slow begins them at floors",
    "(`shared/reveille/worker/floors.py`). Before there were any, in the same set-up, p50 was 308 ms and p99",
    "1.3 s after 70 seconds beside the reader, with 40,000 dead rows, and the workers fell behind. The monitor",
    "begins late as well (`services/heartbeat_monitor/held_floor.py`), and a heartbeat asks only what is of use.",
    "What still walks over dead rows does so at a pace that leaves room: the workers' surveys, a whole look of",
    "the monitor once a minute, the board's lists, batches for the archive.",
    "`reveille doctor` names the session that keeps the snapshot.",
)


def _table(kept: Kept) -> list[str]:
    first, last = thirds(kept.beside)
    columns = (
        ("before", kept.before),
        ("reader, first third", first),
        ("reader, last third", last),
        ("after", kept.after),
    )
    rows: Sequence[tuple[str, Callable[[Sample], float | None], str]] = (
        ("INSERT sent → handler, p50, ms", lambda s: s.waits and s.waits.p50, ".1f"),
        ("p95, ms", lambda s: s.waits and s.waits.p95, ".0f"),
        ("p99, ms", lambda s: s.waits and s.waits.p99, ".0f"),
        ("acknowledged, not begun", lambda s: s.backlog, ".0f"),
        ("dead rows", lambda s: s.database["dead_rows"], ",.0f"),
        ("table, MiB", lambda s: s.database["table_bytes"] / MIB, ".0f"),
        ("its indexes, MiB", lambda s: s.database["index_bytes"] / MIB, ".0f"),
        ("index of claimable tasks, MiB", lambda s: s.database["claimable_bytes"] / MIB, ".1f"),
        ("the machine's load", lambda s: s.load, ".0f"),
    )
    return [
        "| median of the samples | " + " | ".join(name for name, _ in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(
            f"| {name} | "
            + " | ".join(format(typical(samples, of), how) for _, samples in columns)
            + " |"
            for name, of, how in rows
        ),
    ]


def _requeued(kept: Kept) -> list[str]:
    def said(waits: Waits | None) -> str:
        if waits is None:
            return "none"
        ends = f"p95 {waits.p95:.0f}, p99 {waits.p99:.0f}, most {waits.most:.0f}"
        return f"median {waits.p50:.0f} ms, {ends} ({waits.count:,} tasks)"

    return [
        "Retries, dependents and scheduled tasks, from claimable to claimed: "
        f"{said(kept.requeued.get('without'))} without the reader; {said(kept.requeued.get('beside'))} beside it."
    ]


def _memory(kept: Kept) -> list[str]:
    parts = (kept.before, *thirds(filled(kept)))

    def of(name: str) -> Callable[[Sample], float | None]:
        return lambda s: s.processes[name].memory_mib if name in s.processes else None

    return [
        "| memory of its own, MiB | before the reader | after a third of the run | in the end |",
        "|---|---|---|---|",
        *(
            f"| {name} | " + " | ".join(f"{typical(part, of(name)):.1f}" for part in parts) + " |"
            for name in kept.samples[-1].processes
        ),
    ]


def _ends(kept: Kept) -> list[str]:
    ends = ", ".join(f"{count:,} {status}" for status, count in kept.ends.items())
    return [
        f"Counted at the end, queue and archive together: {ends}; as many as were acknowledged. No attempt began "
        "twice."
    ]
