"""What every answer of the gateway tells a browser, JSON and streams included.

Answers are data, never a page: a browser that is led to one shows it, runs nothing of it, frames it
nowhere and guesses no other type. No answer allows another origin to read it (no CORS headers), so
a foreign page sees nothing of the API even where no token is asked for. Pages have a policy of
their own (`pages`).
"""

from aiohttp import web

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add what the answer does not say otherwise; for `Application.on_response_prepare`."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
