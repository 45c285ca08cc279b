"""One agent wired together, from its settings to the node that it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from backstay.adapters.kube.client import KubeClient
from backstay.adapters.node.generations import Generations
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.adapters.oci.cache import BlobCache
from backstay.adapters.oci.public_keys import Keys
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.adapters.oci.verify import verifier_with
from backstay.agent.fetching import Fetching
from backstay.agent.journal import Journal
from backstay.agent.machine import Machine, Times
from backstay.agent.node import Commander, Node
from backstay.core.planes import Plane
from backstay.ports.clock import Clock

DEVICE_CLASS: Final = "rk3566"
FILES: Final[Mapping[Plane, str]] = {Plane.MODEL: "model.bin", Plane.CONFIG: "config.json"}
"""What the workload finds in `DATA/model/current/current/` and `DATA/config/current/current/`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one agent is for, and where it keeps things."""

    commander: Commander
    node: str
    """The node's own name."""
    data: Path
    """Everything that the agent keeps: the journal, fetched artifacts, models and configs."""
    boot: str
    """Which boot this is: what was remembered of times in another one means nothing."""
    keys: Keys = field(default_factory=dict)
    root: Path = Path("/")
    """Of the file system that probes look at."""
    inference_url: str = "http://127.0.0.1:8080"


def assemble(settings: Settings, client: KubeClient, session: aiohttp.ClientSession, clock: Clock) -> Node:
    """Wire an agent together; nothing runs yet."""
    data, transport = settings.data, Transport(session)
    registry = OciRegistry(transport)
    stores = {plane: Generations(plane, data / plane, name) for plane, name in FILES.items()}
    machine = Machine(stores, Journal(data / "state"), Times(clock, settings.boot))
    verifier = verifier_with(settings.keys, transport, registry)
    fetching = Fetching(registry, BlobCache(data / "cache", registry), verifier, DEVICE_CLASS, clock)
    surroundings = Surroundings(session, settings.inference_url, root=settings.root, data=str(data))
    return Node(settings.commander, settings.node, client, machine, fetching, surroundings, clock)
