"""Wakes everybody who waits for one kind of notification, in this process."""

import asyncio


class Doorbell:
    """Rung by the notifier; whoever waits looks at the rows."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Event] = set()

    def ring(self, _payload: str = "") -> None:
        """Wake all who wait now; returns at once."""
        for waiter in self._waiters:
            waiter.set()

    def enter(self) -> asyncio.Event:
        """An event that each ring sets from now on; hand it back with `leave`."""
        waiter = asyncio.Event()
        self._waiters.add(waiter)
        return waiter

    def leave(self, waiter: asyncio.Event) -> None:
        """Ring it no more."""
        self._waiters.discard(waiter)
