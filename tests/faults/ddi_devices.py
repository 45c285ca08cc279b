"""Devices that speak DDI and never give up: whatever a bridge does, each goes on saying what it has to say."""

import asyncio
import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.bridge.tokens import target_token
from tests.faults.scripted_devices import CAMERA, FACTORY

Json = dict[str, Any]

POLL_SECONDS = 0.15
REQUEST_SECONDS = 5.0
SLOT_SECONDS = 2.0


@dataclass
class DdiDevices:
    """Some devices of one namespace, each behind one of its gateways."""

    kube: KubeClient
    namespace: str
    key: bytes
    gateways: Mapping[str, str]
    """Device → gateway."""
    urls: dict[str, str] = field(default_factory=dict)
    """Gateway → where its bridge listens."""
    fails: dict[tuple[str, str], str] = field(default_factory=dict)
    meanings: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Every content that a device was ever offered under a number."""
    confirmed: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Device and step → how often a bridge told the device that its success stands."""
    contradicted: list[str] = field(default_factory=list)
    """What a bridge answered that no bridge may answer."""
    _flash: dict[str, dict[str, Json]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return sorted(self.gateways)

    def running(self, plane: str) -> set[str]:
        """What the devices run in a plane."""
        return {self._flash[name][plane]["running"] for name in self.names}

    async def create(self) -> None:
        """Put the devices on the server; they have the factory's contents."""
        for name, gateway in self.gateways.items():
            self._flash[name] = {plane: {"running": content, "version": "0.9.0"} for plane, content in FACTORY.items()}
            metadata = {"name": name, "labels": CAMERA}
            spec = {"class": "esp32", "gateway": gateway}
            body = {"apiVersion": "backstay.dev/v1alpha1", "kind": "EdgeDevice", "metadata": metadata, "spec": spec}
            await self.kube.create(EDGE_DEVICES, body, self.namespace)

    @asynccontextmanager
    async def obeying(self) -> AsyncIterator[None]:
        """Let them poll and do what they are offered until the block ends."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            tasks = [asyncio.create_task(self._live(session, name), name=name) for name in self.names]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    with suppress(asyncio.CancelledError):
                        await task

    async def _live(self, session: aiohttp.ClientSession, name: str) -> None:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                await self._check_in(session, name)
            await asyncio.sleep(POLL_SECONDS)

    async def _check_in(self, session: aiohttp.ClientSession, name: str) -> None:
        await self._ask(session, name, "POST", "/health", self._report(name))
        status, body = await self._ask(session, name, "GET", "")
        if status != 200:
            return
        links = json.loads(body)["_links"]
        if link := links.get("cancelAction"):
            number = link["href"].rpartition("/")[2]
            await self._feedback(session, name, "cancelAction", number, "closed", "success")
        elif link := links.get("deploymentBase"):
            status, body = await self._ask(session, name, "GET", link["href"])
            if status == 200:
                await self._install(session, name, json.loads(body))

    async def _install(self, session: aiohttp.ClientSession, name: str, document: Json) -> None:
        number, told = document["id"], document["backstay"]
        plane, content = told["plane"], told["content"]
        self.meanings[name, int(number)].add(f"{told['type']} {plane} {content}")
        if await self._feedback(session, name, "deploymentBase", number, "proceeding", "none") != 200:
            return
        if self._flash[name][plane]["running"] != content:
            for artifact in document["deployment"]["chunks"][0]["artifacts"]:
                status, data = await self._ask(session, name, "GET", artifact["_links"]["download-http"]["href"])
                if status != 200 or f"sha256:{hashlib.sha256(data).hexdigest()}" != content:
                    return
            before = self._flash[name][plane]
            after = {"running": content, "version": told["version"], "fallback": before["running"]}
            self._flash[name][plane] = after
        await self._confirm(session, name, number)

    async def _confirm(self, session: aiohttp.ClientSession, name: str, number: str) -> None:
        """Say that it is done until a bridge has heard it; the device has begun it, so no bridge may disown it."""
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                await self._ask(session, name, "POST", "/health", self._report(name))
                status = await self._feedback(session, name, "deploymentBase", number, "closed", "success")
                if status == 200:
                    self.confirmed[name, int(number)] += 1
                    return
                if status not in {429, 503}:
                    self.contradicted.append(f"{name}: {status} for the end of step {number}, which it had begun")
                    return
            await asyncio.sleep(POLL_SECONDS)

    def _report(self, name: str) -> Json:
        # Something that changes by itself, so that there is a status to write that is neither beginning nor answer.
        slot = f"ota_{int(time.monotonic() / SLOT_SECONDS) % 2}"
        return {"planes": self._flash[name], "agent": "patient/1", "interval": 1.0, "slot": slot, "log": ["well"]}

    async def _feedback(
        self, session: aiohttp.ClientSession, name: str, base: str, number: str, execution: str, finished: str
    ) -> int:
        status = {"execution": execution, "result": {"finished": finished}}
        return (await self._ask(session, name, "POST", f"/{base}/{number}/feedback", {"id": number, "status": status}))[
            0
        ]

    async def _ask(
        self, session: aiohttp.ClientSession, name: str, method: str, path: str, body: Json | None = None
    ) -> tuple[int, bytes]:
        base = f"{self.urls[self.gateways[name]]}/{self.namespace}/controller/v1/{name}"
        headers = {"Authorization": f"TargetToken {target_token(self.key, name, 1)}"}
        url = path if path.startswith("http") else base + path
        async with session.request(method, url, json=body, headers=headers) as response:
            return response.status, await response.read()
