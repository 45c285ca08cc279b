"""Secrets in files that others renew while this process runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol


class Renewable(Protocol):
    """Follows its files."""

    async def run(self) -> None:
        """Take up renewals until cancelled."""
        ...


@asynccontextmanager
async def renewed(secret: Renewable | None) -> AsyncIterator[None]:
    """Let a secret, where there is one, follow its files as long as the block lasts."""
    if secret is None:
        yield
        return
    async with asyncio.TaskGroup() as tasks:
        renewing = tasks.create_task(secret.run(), name=f"follow the files of a {type(secret).__name__}")
        try:
            yield
        finally:
            renewing.cancel()
