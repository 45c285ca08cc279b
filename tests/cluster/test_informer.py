"""The informer against the real API server: whatever is lost on the way, the copy is right in the end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from backstay.adapters.kube.client import HOLDS, KubeClient
from backstay.adapters.kube.informer import Informer
from backstay.adapters.system_clock import SystemClock
from backstay.errors import Forbidden, Refused
from backstay.sandbox import Sandbox

Json = dict[str, Any]


class Copy:
    """What the informer has told."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.told: list[str] = []

    def put(self, found: str) -> None:
        self.names.add(found)
        self.told.append(f"+{found}")

    def remove(self, namespace: str, name: str) -> None:
        self.names.discard(name)
        self.told.append(f"-{name}")

    async def until(self, holds: Callable[[set[str]], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds(self.names):
                await asyncio.sleep(0.05)


def name_of(raw: Json) -> str:
    if raw["spec"]["reason"] == "unreadable":
        raise Refused("it makes no sense")
    return str(raw["metadata"]["name"])


async def create(kube: KubeClient, namespace: str, name: str, reason: str = "a test") -> None:
    spec = {"versions": [{"plane": "model", "digest": f"sha256:{'a' * 64}"}], "reason": reason}
    body = {"apiVersion": "backstay.dev/v1alpha1", "kind": "Hold", "metadata": {"name": name}, "spec": spec}
    await kube.create(HOLDS, body, namespace)


@asynccontextmanager
async def informed(kube: KubeClient, namespace: str) -> AsyncIterator[tuple[Informer[str], Copy]]:
    copy = Copy()
    informer = Informer(kube, HOLDS, copy, parse=name_of, clock=SystemClock(), namespace=namespace)
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(10):
            await informer.synced.wait()
        yield informer, copy
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_informer_knows_what_was_there_and_what_comes_and_goes(kube: KubeClient, namespace: str) -> None:
    await create(kube, namespace, "before")
    async with informed(kube, namespace) as (informer, copy):
        assert copy.names == {"before"}
        await create(kube, namespace, "after")
        await copy.until(lambda names: names == {"before", "after"})
        await kube.delete(HOLDS, "before", namespace)
        await copy.until(lambda names: names == {"after"})
        assert informer.connected
        assert informer.age_seconds < 20


async def test_informer_leaves_out_only_the_object_that_it_cannot_read(
    kube: KubeClient, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    await create(kube, namespace, "bad", "unreadable")
    await create(kube, namespace, "good")
    async with informed(kube, namespace) as (_, copy):
        assert copy.names == {"good"}
    assert f"holds {namespace}/bad is left out: it makes no sense" in caplog.text


async def test_informer_finds_what_was_deleted_when_its_version_is_too_old(kube: KubeClient, namespace: str) -> None:
    await create(kube, namespace, "stays")
    await create(kube, namespace, "goes")
    async with informed(kube, namespace) as (_, first):
        assert first.names == {"stays", "goes"}
    await kube.delete(HOLDS, "goes", namespace)
    copy = Copy()
    copy.names = {"stays", "goes"}
    informer = Informer(kube, HOLDS, copy, parse=name_of, clock=SystemClock(), namespace=namespace)
    informer._known = {(namespace, "stays"), (namespace, "goes")}
    informer._version = "1"
    task = asyncio.create_task(informer.run())
    await copy.until(lambda names: names == {"stays"})
    assert copy.told[0] in {"+stays", "-goes"}
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_informer_loses_nothing_when_the_api_server_was_away(
    sandbox: Sandbox, kube: KubeClient, namespace: str
) -> None:
    await create(kube, namespace, "before")
    async with informed(kube, namespace) as (informer, copy):
        await sandbox.stop("kube-apiserver")
        async with asyncio.timeout(10):
            while informer.connected:
                await asyncio.sleep(0.05)
        await sandbox.start_component("kube-apiserver")
        await create(kube, namespace, "after")
        await kube.delete(HOLDS, "before", namespace)
        await copy.until(lambda names: names == {"after"})
        assert informer.connected


async def test_informer_says_that_it_may_not_when_it_has_no_permission(sandbox: Sandbox, namespace: str) -> None:
    await sandbox.kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    identity = await sandbox.service_account_kubeconfig(namespace, "nobody")
    async with KubeClient.connect(identity) as client:
        informer = Informer(client, HOLDS, Copy(), parse=name_of, clock=SystemClock(), namespace=namespace)
        with pytest.raises(Forbidden, match="holds"):
            await informer.run()
