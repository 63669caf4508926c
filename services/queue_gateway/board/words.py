"""How values read: durations, moments, money, names. Filters of the templates; pure."""

from datetime import datetime

DAY_SECONDS = 86_400
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


def duration(seconds: float | None) -> str:
    """80 ms, 1.2 s, 3 min, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    if seconds is None:
        return "–"
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
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
    """12, 1,234, 56.7 k, 3.4 M; one digit after the point for small fractions."""
    if number is None:
        return "–"
    if abs(number) >= 999_950:
        return f"{number / 1e6:.1f} M"
    if abs(number) >= 10_000:
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


FILTERS = {
    "moment": moment,
    "day": day,
    "clock": clock,
    "duration": duration,
    "usd": usd,
    "count": count,
    "size": size,
    "name": name,
    "priority": priority,
}
