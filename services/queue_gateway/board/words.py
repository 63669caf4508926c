"""How values read: durations, moments, money, names. Filters of the templates; pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

DAY_SECONDS = 86_400
FIGURE_CHARS_MAX = 40  # a digest is told apart by less
PRIORITIES = {1: "normal", 2: "high", 3: "critical"}


def moment(value: datetime | None) -> str:
    """2026-01-31 14:03:22, without the zone: pages say once that times are UTC."""
    return "–" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def day(value: datetime) -> str:
    """Jan 31."""
    return f"{value:%b} {value.day}"


def clock(value: datetime) -> str:
    """14:03:22."""
    return f"{value:%H:%M:%S}"


def ago(value: datetime, now: datetime) -> str:
    """How far away a moment is, in its largest unit: just now, 12 s ago, 3 h ago, in 2 d."""
    seconds = (now - value).total_seconds()
    distance = abs(seconds)
    if distance < 1:
        return "just now"
    units = ((DAY_SECONDS, "d"), (3600, "h"), (60, "min"), (1, "s"))
    size_seconds, unit = next(entry for entry in units if distance >= entry[0])
    rough = f"{int(distance // size_seconds)} {unit}"
    return f"{rough} ago" if seconds > 0 else f"in {rough}"


def duration(seconds: float | None) -> str:
    """80 ms, 1.2 s, 3 min, 3 min 20 s, 2 h 05 min, 3 d 4 h; whole seconds when they are given so."""
    if seconds is None:
        return "–"
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds} s" if isinstance(seconds, int) else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s" if rest else f"{minutes} min"
    if seconds < DAY_SECONDS:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{int(seconds // DAY_SECONDS)} d {int(seconds % DAY_SECONDS // 3600)} h"


def usd(amount: float | None) -> str:
    """$1,234.50, $0.42, $0.0231, $0.00; what is not nothing never reads as nothing."""
    if amount is None:
        return "–"
    if amount >= 0.095 or amount == 0:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if amount >= 0.00005 else "< $0.0001"


def count(number: float | None) -> str:
    """12, 12,345, 567.8 k, 3.4 M; one digit after the point for small fractions."""
    if number is None:
        return "–"
    if abs(number) >= 999_950:
        return f"{number / 1e6:.1f} M"
    if abs(number) >= 100_000:
        return f"{number / 1e3:.1f} k"
    return f"{number:,.0f}" if number == int(number) or number >= 100 else f"{number:.1f}"


def size(number: int | None) -> str:
    """812 B, 34 kB, 1.2 MB."""
    if number is None:
        return "–"
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            scaled = number / factor
            return f"{scaled:.1f} {unit}" if scaled < 10 else f"{scaled:.0f} {unit}"
    return f"{number} B"


def name(word: str | None) -> str:
    """A name of the database as words: slide_feedback is slide feedback."""
    return "–" if word is None else word.replace("_", " ")


def priority(number: int) -> str:
    """The contract's word for a priority."""
    return PRIORITIES.get(number, str(number))


def figures(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a decision saw, as names and values for people; what it saw nothing of is left out."""
    return [
        (name(_title(key, inputs)), _figure(key, value))
        for key, value in inputs.items()
        if isinstance(value, (str, int, float)) and value != ""
    ]


def _title(key: str, inputs: Mapping[str, Any]) -> str:
    """Without the unit, which the value has, unless that is another's name."""
    short = key.removesuffix("_seconds").removesuffix("_usd")
    return f"{short} time" if short != key and short in inputs else short


def _figure(key: str, value: str | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value if len(value) <= FIGURE_CHARS_MAX else f"{value[:FIGURE_CHARS_MAX]}…"
    if key.endswith("_seconds"):
        return duration(value)
    if key.endswith(("_usd", "usd_per_hour")):
        return usd(value)
    return count(value)


FILTERS = {
    "moment": moment,
    "day": day,
    "clock": clock,
    "ago": ago,
    "figures": figures,
    "duration": duration,
    "usd": usd,
    "count": count,
    "size": size,
    "name": name,
    "priority": priority,
}
