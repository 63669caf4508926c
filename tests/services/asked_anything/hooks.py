"""Loaded by schemathesis: long polls are asked for, but not waited for."""

from contextlib import suppress
from typing import Any

import schemathesis

WAIT_SECONDS_MAX = 300  # what the gateway allows; beyond it nothing is touched, to be refused
WAIT_SECONDS = 0.02


@schemathesis.hook
def before_call(_context: Any, case: Any, _options: dict[str, Any]) -> None:
    """Shorten every wait that would be granted; in a query numbers may be texts."""
    for values in (case.body, case.query):
        if isinstance(values, dict) and isinstance(values.get("wait_seconds"), int | float | str):
            with suppress(ValueError):
                if WAIT_SECONDS < float(values["wait_seconds"]) <= WAIT_SECONDS_MAX:
                    kind = type(values["wait_seconds"])
                    values["wait_seconds"] = True if kind is bool else kind(WAIT_SECONDS)
