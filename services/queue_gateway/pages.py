"""How the gateway's HTML is made: templates that escape everything, and headers that let a page
load nothing foreign.
"""

from functools import cache
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from queue_gateway.board.words import FILTERS

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
def templates() -> Environment:
    """All templates of the gateway, compiled once."""
    environment = Environment(
        loader=PackageLoader("queue_gateway"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment


def page(template: str, status: int = 200, **values: Any) -> web.Response:
    """Render a template to a response. `visitor`: who looks, and when; without one the page has no
    forms and no times.
    """
    visitor = values.setdefault("visitor", None)
    values["now"] = visitor.now if visitor else None
    html = templates().get_template(template).render(**values)
    return web.Response(text=html, status=status, content_type="text/html", headers=HEADERS)
