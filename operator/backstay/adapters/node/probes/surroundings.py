"""What the probes of a node look at."""

import fcntl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from backstay.adapters.node.probes.v4l2 import Ioctl

PodSource = Callable[[], Awaitable[list[dict[str, Any]]]]
"""Gives the Pods of this node, as the Kubernetes API writes them; raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Served:
    """What the inference server should be serving now."""

    model: str
    """Its name at the server."""
    version: str | None = None
    """As the server names it; None where any will do."""
    samples: Path | None = None
    """The golden samples that came with it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The node as its probes find it; the agent keeps what changes behind callables."""

    session: aiohttp.ClientSession
    inference_url: str = "http://127.0.0.1:8080"
    """Where the inference server speaks the Open Inference Protocol v2."""
    served: Callable[[], Served | None] = lambda: None
    connected: Callable[[], bool] = lambda: False
    """Whether the API server has answered the agent since the change."""
    pods: PodSource | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    """The device of an input by its name, such as `camera0: video11`, below /dev."""
    ioctl: Ioctl = fcntl.ioctl
    """Asks a driver."""
    root: Path = Path("/")
    """Of the file system; another one only where a tree stands for a machine that is not there."""
    data: str = "/var/lib/backstay"
    """What DiskHeadroom looks at where the probe names no path."""

    def at(self, path: str) -> Path:
        """A path of the node below the root."""
        return self.root / path.lstrip("/")
