"""Decks: a backlog of real decks through the real visual worker, a stand-in model of a second a call.

What the model server saw says how busy the GPU was; the worker's own spans say what was rendered
when, and so how much of it nobody waited for.
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median

from tests.bench.contestants import REVEILLE
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.services import started
from tests.bench.stage import ROOT, Stage

from model_stub.config import StubSettings
from model_stub.ledger import RequestRecord
from model_stub.server import Stub
from reveille.otlp_sink import OtlpSink
from reveille.span import Span

DECKS = ("cardiosense_pitch.pdf", "tidewell_pitch.pdf")  # 11 and 9 slides
BACKLOG = 200
CALL_SECONDS = 1.0
WINDOW_SECONDS = {1: 24.0, 2: 11.0, 4: 11.0, 8: 11.0}  # each slot ends a deck and begins another
WINDOW_SECONDS_SHORT = 6.0
EXPORT_SECONDS = 1.5  # the exporter sends once a second
WAIT_SECONDS_MAX = 30.0
ENQUEUE = """\
INSERT INTO processing_queue (document_id, task_type, file_path)
SELECT n, 'visual_analysis', ($2::text[])[1 + n % 2] FROM generate_series(1, $1) n"""

Interval = tuple[float, float]


def _case(slots: int) -> Case:
    async def measure(stage: Stage) -> Measures:
        settings = StubSettings(
            port=0, service_seconds=CALL_SECONDS, num_parallel=slots, requests_kept_max=10_000
        )
        seconds = WINDOW_SECONDS_SHORT if stage.short else WINDOW_SECONDS[slots]
        stub = Stub(settings)
        await stub.start()
        try:
            async with OtlpSink() as sink:
                await _run(stage, stub, sink, slots, seconds)
                return _use(slots, seconds, stub, sink.spans)
        finally:
            await stub.stop()

    return Case(name=f"{slots} slot{'s' if slots > 1 else ''}", measure=measure)


async def _run(stage: Stage, stub: Stub, sink: OtlpSink, slots: int, seconds: float) -> None:
    dsn = await stage.another_database(REVEILLE, f"decks_{slots}")
    async with stage.connection_to(dsn) as connection:
        await connection.execute(ENQUEUE, BACKLOG, list(DECKS))
    environment = {
        "DATABASE_URL": dsn,
        "OLLAMA_HOST": stub.url,
        "REVEILLE_DOCUMENT_ROOT": str(ROOT / "examples"),
        "REVEILLE_SLOTS": str(slots),
        "REVEILLE_OTLP_ENDPOINT": sink.url,
        "REVEILLE_DRAIN_SECONDS": "0.1",
        "REVEILLE_LOG_JSON": "true",
    }
    log = stage.scratch / f"decks-{slots}.log"
    worker = (await started("visual_worker", environment, log)).child
    try:
        await stub.requests.until(
            lambda ledger: ledger.generating > 0, timeout_seconds=WAIT_SECONDS_MAX
        )
        await asyncio.sleep(seconds + EXPORT_SECONDS)
    finally:
        await asyncio.to_thread(worker.stop, wait_seconds=10)


def _use(slots: int, seconds: float, stub: Stub, spans: Sequence[Span]) -> Measures:
    calls = [_interval(record) for record in stub.requests.last if record.path == "/api/chat"]
    began = min(begin for begin, _ in calls)
    window = began, began + seconds
    in_calls = [(max(b, window[0]), min(e, window[1])) for b, e in calls if b < window[1]]
    chats = [_of(span) for span in spans if span.name.startswith("chat")]
    renders = [_of(span) for span in spans if span.name == "render page"]
    rendering = sum(end - begin for begin, end in renders)
    hidden = sum(_overlap(render, _union(chats)) for render in renders)
    gaps, firsts = _gaps(spans), _firsts(spans)
    return {
        "GPU busy %": 100 * _length(_union(in_calls)) / seconds,
        "slots in a call %": 100 * _length(in_calls) / seconds / slots,
        "gap between slides, ms": 1000 * median(gaps),
        "claim to first call, ms": 1000 * median(firsts),
        "rendering hidden %": 100 * hidden / rendering,
        "slides/s": len(in_calls) / seconds,
    }


def _interval(record: RequestRecord) -> Interval:
    end = record.begun_at + (record.seconds or CALL_SECONDS)  # 0: still under way
    return record.begun_at, end


def _of(span: Span) -> Interval:
    return span.start_ns / 1e9, span.end_ns / 1e9


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    joined: list[Interval] = []
    for begin, end in sorted(intervals):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def _length(intervals: Iterable[Interval]) -> float:
    return sum(end - begin for begin, end in intervals)


def _overlap(one: Interval, others: Iterable[Interval]) -> float:
    return sum(max(0.0, min(one[1], end) - max(one[0], begin)) for begin, end in others)


def _chats_by_task(spans: Sequence[Span]) -> dict[str, list[Interval]]:
    by_task: dict[str, list[Interval]] = {}
    for span in spans:
        if span.name.startswith("chat"):
            by_task.setdefault(span.trace_id, []).append(_of(span))
    return {task: sorted(chats) for task, chats in by_task.items()}


def _gaps(spans: Sequence[Span]) -> list[float]:
    """From one slide's answer to the next slide's question, within a deck."""
    return [
        later[0] - earlier[1]
        for chats in _chats_by_task(spans).values()
        for earlier, later in pairwise(chats)
    ]


def _firsts(spans: Sequence[Span]) -> list[float]:
    """From the claim of a deck to its first question: the document is opened, a page is rendered."""
    chats = _chats_by_task(spans)
    claimed = {
        span.trace_id: span.end_ns / 1e9 for span in spans if span.name.startswith("queued ")
    }
    return [chats[task][0][0] - at for task, at in claimed.items() if task in chats]


def _cases(short: bool) -> Sequence[Case]:
    return [_case(slots) for slots in ((2,) if short else (1, 2, 4, 8))]


SCENARIO = Scenario(
    name="decks",
    title="A backlog of 200 real decks, one model call of 1 s a slide, the real visual worker",
    unit="as named",
    better="more",
    cases=_cases,
    rounds=1,
    note="The model server, Postgres and the worker share the cores. Busy: at least one call is being "
    "answered. Hidden: the share of rendering during which the worker had a call under way. "
    "Measured for 24 s (1 slot) or 11 s from the first call on.",
)
