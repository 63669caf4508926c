"""Backoff."""

from hypothesis import given
from hypothesis import strategies as st

from reveille.policy import backoff_seconds


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_between_zero_and_the_cap(retry_count: int, chance: float) -> None:
    """However often a task failed, its wait has an end."""
    wait = backoff_seconds(retry_count, base_seconds=2, max_seconds=300, chance=chance)

    assert 0 <= wait <= 300


def test_backoff_doubles_its_ceiling() -> None:
    """The ceiling grows by powers of two from the base."""
    ceilings = [backoff_seconds(n, base_seconds=2, max_seconds=300, chance=1.0) for n in range(4)]

    assert ceilings == [2, 4, 8, 16]
