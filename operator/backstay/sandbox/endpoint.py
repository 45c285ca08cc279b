"""Where a component answers, and whether it is ready."""

import ssl
from dataclasses import dataclass

import aiohttp

PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address on loopback, and what it takes to talk to it; paths are text because the state file holds them."""

    url: str
    ready_path: str
    """Answers 200 once the component is ready."""
    ca: str | None = None
    """Whom to trust, for https."""
    certificate: str | None = None
    """Who we are, where the component asks for that."""
    key: str | None = None

    def context(self) -> ssl.SSLContext | bool:
        """The TLS settings for a request, as aiohttp takes them."""
        if self.ca is None:
            return True
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


class Probe:
    """Asks one endpoint, as often as needed, whether it is ready."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        """Read the endpoint's certificates once."""
        self._session = session
        self._url = endpoint.url + endpoint.ready_path
        self._context = endpoint.context()

    async def ready(self) -> bool:
        """Whether the component says that it is ready."""
        timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
        try:
            async with self._session.get(self._url, ssl=self._context, timeout=timeout) as response:
                return response.ok
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
