"""Reads what a server answers, up to a limit: a neighbour that goes mad must not fill the node's memory."""

import aiohttp

from backstay.errors import Unavailable


async def whole(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """The whole body.

    Raises:
        Unavailable: it is longer than the limit.
    """
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit_bytes:
            raise Unavailable(f"{response.url} answers with more than {limit_bytes} bytes")
    return bytes(body)
