"""Trace contexts as rows carry them: whatever the columns hold, a task has one creation."""

from datetime import UTC, datetime, timedelta, timezone
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision

from reveille import semconv
from reveille.span_export import TaskSampler
from reveille.trace_context import (
    creation_of,
    format_traceparent,
    parse,
    pipeline_links,
    to_ns,
    trace_id_of,
)

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CREATED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_traceparent_survives_parse_and_format() -> None:
    """What a row carries is handed on letter by letter."""
    span_context = parse(TRACEPARENT)
    assert span_context is not None
    assert format_traceparent(span_context) == TRACEPARENT


@pytest.mark.parametrize(
    "garbage",
    [
        None,
        "",
        "nonsense",
        42,
        TRACEPARENT.upper(),
        TRACEPARENT[:-1],
        TRACEPARENT + "-extra",
        TRACEPARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        TRACEPARENT.replace("b7ad6b7169203331", "0" * 16),
        "ff" + TRACEPARENT[2:],
        "00-" + "f" * 5000,
    ],
)
def test_garbage_traceparent_is_no_context(garbage: object) -> None:
    """Nothing that breaks the W3C grammar becomes a parent, and nothing raises."""
    assert parse(garbage) is None
    assert trace_id_of(garbage) is None


@given(st.text(max_size=600), st.text(max_size=600))
def test_any_text_is_parsed_without_an_error(traceparent: str, tracestate: str) -> None:
    """A client may write anything into the two columns."""
    parse(traceparent, tracestate)
    parse(TRACEPARENT, tracestate)


def test_garbage_gives_each_attempt_the_same_ids() -> None:
    """Attempts of a task with a broken context still share one trace, and other tasks do not."""

    def trace_id(task_id: int, created_at: datetime) -> str:
        found = creation_of(task_id=task_id, created_at=created_at, traceparent="broken")
        assert found.minted
        return found.trace_id

    assert trace_id(7, CREATED_AT) == trace_id(7, CREATED_AT)
    other_zone = CREATED_AT.astimezone(timezone(timedelta(hours=9)))
    assert trace_id(7, CREATED_AT) == trace_id(7, other_zone)
    assert trace_id(7, CREATED_AT) != trace_id(8, CREATED_AT)
    assert trace_id(7, CREATED_AT) != trace_id(7, CREATED_AT + timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("tracestate", "minted"),
    [
        ("reveille=minted", True),
        ("vendor=x,reveille=minted", True),
        ("vendor=x", False),
        ("reveille=other", False),
        ("==,,", False),
        (None, False),
    ],
)
def test_minted_ids_are_told_by_the_tracestate(tracestate: str | None, minted: bool) -> None:
    """A worker back-fills the root span of minted ids only, never of a backend's own span."""
    found = creation_of(
        task_id=1, created_at=CREATED_AT, traceparent=TRACEPARENT, tracestate=tracestate
    )
    assert found.minted is minted
    assert found.trace_id == trace_id_of(TRACEPARENT)


def test_pipeline_links_leave_out_what_is_no_context() -> None:
    """A parent task without a usable context costs its link, not the span."""
    links = pipeline_links([TRACEPARENT, None, "broken"])
    assert [format_traceparent(link.context) for link in links] == [TRACEPARENT]
    assert links[0].attributes == {semconv.REVEILLE_LINK_KIND: semconv.LINK_PARENT_TASK}


def test_database_times_become_exact_nanoseconds() -> None:
    """No microsecond is lost to floating point, and a legacy naive time counts as UTC."""
    moment = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
    assert to_ns(moment) == 1_772_366_400_123_457_000
    assert to_ns(moment.replace(tzinfo=None)) == to_ns(moment)


def _kept(sampler: TaskSampler, trace_id: int, flags: str, tracestate: str | None) -> bool:
    creation = creation_of(
        task_id=1,
        created_at=CREATED_AT,
        traceparent=f"00-{trace_id:032x}-b7ad6b7169203331-{flags}",
        tracestate=tracestate,
    )
    decision = sampler.should_sample(creation.context, trace_id, "any").decision
    return decision is Decision.RECORD_AND_SAMPLE


def test_minted_traces_are_sampled_by_ratio_although_made_of_uuids() -> None:
    """A version 4 UUID's fixed bits must not make a ratio of one half mean none or all."""
    draw = Random(20260301)
    uuids = [UUID(int=draw.getrandbits(128), version=4) for _ in range(1000)]
    kept = sum(_kept(TaskSampler(0.5), uuid.int, "01", "reveille=minted") for uuid in uuids)
    assert 450 < kept < 550


@pytest.mark.parametrize(("flags", "kept"), [("01", True), ("00", False), ("03", True)])
def test_backends_sampling_decision_is_followed(flags: str, kept: bool) -> None:
    """A trace that the backend keeps is kept whole; one that it drops is dropped whole."""
    trace_id = 0x0AF7651916CD43DD8448EB211C80319C
    assert _kept(TaskSampler(0.0), trace_id, flags, None) is kept
    assert _kept(TaskSampler(1.0), trace_id, flags, None) is kept


def test_sampler_hands_on_the_tracestate_without_our_mark() -> None:
    """Spans below a back-filled one are real: what they create must not look minted."""
    creation = creation_of(
        task_id=1,
        created_at=CREATED_AT,
        traceparent=TRACEPARENT,
        tracestate="vendor=x,reveille=minted",
    )
    result = TaskSampler(1.0).should_sample(creation.context, 1, "any")
    assert result.trace_state is not None
    assert result.trace_state.to_header() == "vendor=x"
    assert TaskSampler(1.0).should_sample(Context(), 1, "any").trace_state is None


def test_sample_ratio_outside_its_range_is_refused() -> None:
    """A percentage given for a share is noticed at start."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        TaskSampler(50)
