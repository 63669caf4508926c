"""How the gateway's HTML is made: templates that escape everything, and headers that let a page
load nothing foreign.
"""

from datetime import datetime
from functools import cache
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

# Scripts and styles come from /static alone, so text that slips into a page cannot become one.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("queue_gateway"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": _moment, "duration": _duration, "usd": _usd}
    return environment


def page(template: str, status: int = 200, **values: Any) -> web.Response:
    """Render a template to a response."""
    html = _templates().get_template(template).render(**values)
    return web.Response(text=html, status=status, content_type="text/html", headers=HEADERS)


def _moment(value: datetime | None) -> str:
    return "–" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def _duration(seconds: float | None) -> str:
    """1.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _usd(amount: float | None) -> str:
    return "–" if amount is None else f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"
