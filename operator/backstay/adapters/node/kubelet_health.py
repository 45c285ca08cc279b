"""Whether the node's kubelet is well, by its own word on the node.

Source: https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/ (`healthzPort`)
"""

import asyncio
from http import HTTPStatus
from typing import Final

import aiohttp

HEALTHZ: Final = "http://127.0.0.1:10248/healthz"
"""Where every kubelet answers, also K3s's."""
PATIENCE_SECONDS: Final = 3.0


class KubeletHealth:
    """Asks a kubelet how it is."""

    def __init__(self, session: aiohttp.ClientSession, url: str = HEALTHZ) -> None:
        self._session = session
        self._url = url

    async def trouble(self) -> str | None:
        """What is wrong with the kubelet, in words; None if it is well."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._session.get(self._url) as answer:
                said = (await answer.content.read(200)).decode(errors="replace").strip()
                return None if answer.status == HTTPStatus.OK else f"the kubelet is not healthy: {said}"
        except TimeoutError:
            return f"the kubelet does not answer at {self._url} within {PATIENCE_SECONDS:.0f} s"
        except aiohttp.ClientError as error:
            return f"the kubelet cannot be asked at {self._url}: {error}"
