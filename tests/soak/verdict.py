"""What flat means: nothing that a user or an operator feels grows with time. Pure.

With a snapshot open the dead rows themselves must grow: nobody may remove them. What must not grow
with them is the wait of a task, the memory of a process, and, once the snapshot has gone, the table.
"""

from collections.abc import Callable, Sequence
from statistics import median

from tests.soak.kept import Kept
from tests.soak.sample import Process, Sample

WAIT_FACTOR_MAX = 3.0  # the last third beside the reader, against the time before it
WAIT_FLOOR_MS = {"p50": 10.0, "p99": 250.0}  # below that it is the machine's other work
MEMORY_FACTOR_MAX, MEMORY_SLACK_MIB = 1.03, 2.0  # 0.3 MiB a minute in a run of 35
# Some forty sessions, each of which keeps what its largest query once took from the system.
POSTGRES_SLACK_MIB = 128.0
FILES_SLACK = 8
BACKLOG_SECONDS_MAX = 2.0
ROW_BYTES_MAX = 4_000  # a task's dead versions with all their index entries
DEAD_SHARE_MAX = 0.2  # of what the reader had piled up, when vacuum has come by
INDEX_BYTES_FREE = 16 * 2**20


def judge(kept: Kept) -> list[str]:
    """What did not stay flat, in words."""
    if not (kept.before and kept.beside and kept.after):
        return ["too short to judge: before, beside and after the reader"]
    return [*_waits(kept), *_backlog(kept), *_memory(kept), *_space(kept)]


def thirds(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The first and the last."""
    third = max(1, len(samples) // 3)
    return samples[:third], samples[-third:]


def filled(kept: Kept) -> Sequence[Sample]:
    """After a third of the run: until then the C library's heap takes up its free room (page.py)."""
    return kept.samples[len(kept.samples) // 3 :]


def typical(samples: Sequence[Sample], of: Callable[[Sample], float | None]) -> float:
    """The median of what there is; 0 of nothing."""
    values = [value for sample in samples if (value := of(sample)) is not None]
    return median(values) if values else 0.0


def _waits(kept: Kept) -> list[str]:
    found = []
    _, late = thirds(kept.beside)
    for name, floor in WAIT_FLOOR_MS.items():

        def of(sample: Sample, name: str = name) -> float | None:
            return getattr(sample.waits, name) if sample.waits else None

        before, now = typical(kept.before, of), typical(late, of)
        if now > max(WAIT_FACTOR_MAX * before, floor):
            found.append(f"waits grew beside the reader: {name} {before:.1f} → {now:.1f} ms")
    return found


def _backlog(kept: Kept) -> list[str]:
    limit = kept.setting.rate * BACKLOG_SECONDS_MAX
    worst = typical(thirds(kept.beside)[1], lambda s: s.backlog)
    return [f"a backlog of {worst:.0f} tasks"] if worst > limit else []


def _memory(kept: Kept) -> list[str]:
    found = []
    first, last = thirds(filled(kept))
    for name in last[-1].processes:
        before, now = (_typical_process(part, name) for part in (first, last))
        slack = POSTGRES_SLACK_MIB if name == "postgres" else MEMORY_SLACK_MIB
        if now.memory_mib > before.memory_mib * MEMORY_FACTOR_MAX + slack:
            found.append(f"{name} grew: {before.memory_mib:.0f} → {now.memory_mib:.0f} MiB")
        # Postgres opens a file for each part of each table, and keeps up to a thousand.
        if name != "postgres" and now.files > before.files + FILES_SLACK:
            found.append(f"{name} holds {now.files - before.files} files more")
    return found


def _typical_process(samples: Sequence[Sample], name: str) -> Process:
    found = [sample.processes[name] for sample in samples if name in sample.processes]
    return Process(
        memory_mib=median(p.memory_mib for p in found) if found else 0.0,
        files=round(median(p.files for p in found)) if found else 0,
        cpu_seconds=0.0,
    )


def _space(kept: Kept) -> list[str]:
    """While the reader is there only what has died may pile up; afterwards it is used again."""
    found = []
    first, last = kept.beside[0], kept.beside[-1]
    tasks = last.committed - first.committed
    grown = _bytes(last) - _bytes(first)
    if grown > tasks * ROW_BYTES_MAX:
        found.append(f"{grown / max(1, tasks):.0f} bytes a task pile up beside the reader")
    ended = kept.after[-1].database["dead_rows"]
    if ended > max(s.database["dead_rows"] for s in kept.beside) * DEAD_SHARE_MAX:
        found.append(f"{ended:,} dead rows are left after the reader has gone")
    if _bytes(kept.after[-1]) > _bytes(kept.after[0]) + INDEX_BYTES_FREE:
        found.append("the table grows on after the reader has gone")
    return found


def _bytes(sample: Sample) -> int:
    return sample.database["table_bytes"] + sample.database["index_bytes"]
