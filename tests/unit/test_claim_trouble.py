"""When a worker whose turns fail says so, and when it takes that back."""

from reveille.worker.claim_trouble import FAILURES_TOLERATED, PAUSE_SECONDS, ClaimTrouble

ERROR = ValueError("no such column")


def test_single_failures_are_nobodys_business() -> None:
    """A deadlock now and then keeps a worker in service."""
    trouble = ClaimTrouble()
    for _ in range(5):
        assert not trouble.failed(ERROR)
        assert not trouble.succeeded()
    assert trouble.reason is None
    assert trouble.pause_seconds == PAUSE_SECONDS


def test_failures_in_a_row_are_told_once_with_growing_pauses() -> None:
    """The row is written when something changes, and the database is not hammered."""
    trouble = ClaimTrouble()
    news = [trouble.failed(ERROR) for _ in range(FAILURES_TOLERATED + 3)]
    assert news == [False] * FAILURES_TOLERATED + [True, False, False]
    assert trouble.reason == "it cannot claim: no such column"
    assert trouble.pause_seconds > 4 * PAUSE_SECONDS


def test_trouble_that_comes_back_after_one_success_is_told_at_once() -> None:
    """A turn with nothing to claim proves little."""
    trouble = ClaimTrouble()
    for _ in range(FAILURES_TOLERATED + 1):
        trouble.failed(ERROR)
    assert trouble.succeeded()
    assert trouble.reason is None
    assert trouble.failed(ERROR)
