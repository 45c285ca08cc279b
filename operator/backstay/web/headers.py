"""What browsers are told to keep from doing with every answer.

Source: https://www.w3.org/TR/CSP3/, https://fetch.spec.whatwg.org/
"""

from typing import Final

from aiohttp import web

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
ALWAYS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "backstay",
}


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers on every answer, also on streams and on refusals; only what has a hash in its name is kept."""
    del request
    response.headers.update(ALWAYS)
    response.headers.setdefault("Cache-Control", "no-store")
