"""What a worker counts: settled tasks with their times, and model calls."""

import time

from reveille.metrics import Metrics
from reveille.model import ModelCall
from reveille.outcome import Outcome
from reveille.worker.running import Running


def count_model_call(metrics: Metrics, call: ModelCall) -> None:
    """One call to the model server has ended."""
    labels = {"model": call.model}
    metrics.model_call.record(call.seconds, {**labels, "outcome": call.outcome})
    metrics.model_tokens.add(call.input_tokens, {**labels, "direction": "input"})
    metrics.model_tokens.add(call.output_tokens, {**labels, "direction": "output"})
    if call.tokens_per_second is not None:
        metrics.model_rate.record(call.tokens_per_second, labels)


def count_settled(metrics: Metrics, running: Running, outcome: Outcome, status: str | None) -> None:
    """An attempt has ended; `status` None: its result was dropped."""
    claim = running.claim
    labels = {"task_type": claim.task_type}
    waited = (claim.started_at - claim.claimable_at).total_seconds()
    metrics.task_wait.record(max(0.0, waited), labels)
    metrics.task_processing.record(time.monotonic() - running.began, labels)
    kind = type(outcome).__name__.lower() if status is not None else "dropped"
    reason = getattr(outcome, "reason", "")
    metrics.tasks_settled.add(1, {**labels, "outcome": kind, "reason": reason})
