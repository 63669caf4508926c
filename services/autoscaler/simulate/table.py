"""Scores for people: a table, and the course of a run as lines of blocks."""

from autoscaler.simulate.picture import course_of, line
from autoscaler.simulate.score import Outcome, Score
from autoscaler.simulate.tune import Trial

COLUMNS = (
    f"{'cold start':>10}  {'policy':<10} {'pool':<7} {'$/month':>8} {'$/doc':>7} {'ratio':>6} "
    f"{'GPU h':>7} {'wait mean':>9} {'p95':>6} {'max':>7} {'≤10 min':>8} {'unserved':>8}"
)
PICTURE_COLUMNS = 96


def row(score: Score) -> str:
    """One line under COLUMNS."""
    return (
        f"{score.cold_start_seconds:>8g} s  {score.policy:<10} {score.pool:<7} "
        f"{score.usd_per_month:>8.2f} {score.usd_per_document:>7.3f} {score.ratio:>6.2f} "
        f"{score.gpu_hours:>7.1f} {score.wait_mean_seconds:>7.0f} s {score.wait_p95_seconds:>6.0f} "
        f"{score.wait_max_seconds:>7.0f} {score.share_within_10_minutes:>8.1%} {score.unserved:>8}"
    )


def drawn(title: str, outcome: Outcome, seconds: float) -> list[str]:
    """Waiting tasks, replicas and money of each pool over time."""
    lines = [""]
    for pool, moments in outcome.moments.items():
        course = course_of(moments, seconds, PICTURE_COLUMNS, outcome.usd_per_hour[pool])
        lines += [
            f"{title}, {pool}: waiting (at most {max(course.waiting)}), "
            f"replicas (at most {max(course.replicas)}), spent (${course.usd[-1]:.2f})",
            line(course.waiting),
            line(course.replicas),
            line(course.usd),
        ]
    return lines


def told(trial: Trial) -> str:
    """A trial of --tune in one line."""
    changes = ", ".join(f"{key}={value}" for key, value in trial.changes.items()) or "as it is"
    score = trial.score
    return (
        f"${score.usd_per_month:>8.2f}/month  wait {score.wait_mean_seconds:>4.0f} s  "
        f"{score.share_within_10_minutes:>6.1%} ≤ 10 min  "
        f"{'meets' if trial.meets else 'misses'} the goals: {changes}"
    )
