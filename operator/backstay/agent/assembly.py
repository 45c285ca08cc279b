"""One agent wired together, from its settings to the node that it runs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final, assert_never

import aiohttp

from backstay.adapters.failpoints import AGENT, Failpoints
from backstay.adapters.kube.client import KubeClient, Resource
from backstay.adapters.node.configs import bad_values
from backstay.adapters.node.equipment import equipment
from backstay.adapters.node.generations import Check, Generations
from backstay.adapters.node.image_pins import ContainerdImages
from backstay.adapters.node.kubelet_health import HEALTHZ, KubeletHealth
from backstay.adapters.node.models import bad_samples, served
from backstay.adapters.node.pod_manifest import runs
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.adapters.node.process import ProcessInstaller
from backstay.adapters.node.static_pod import StaticPodInstaller, StaticPodPlace
from backstay.adapters.oci.cache import BlobCache
from backstay.adapters.oci.public_keys import Keys
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.adapters.oci.verify import verifier_with
from backstay.agent.fetching import Fetching
from backstay.agent.journal import Journal
from backstay.agent.keeping import HEADROOM_BYTES, Keeping, free_on
from backstay.agent.machine import Machine, Times
from backstay.agent.node import Commander, Node
from backstay.agent.safety import FILE
from backstay.agent.sign_of_life import SignOfLife
from backstay.core.planes import Plane
from backstay.ports.clock import Clock
from backstay.ports.installer import Installer

PODS: Final = Resource("", "v1", "pods")
DEVICE_CLASS: Final = "rk3566"
UNITS: Final = Path("/etc/systemd/system")
FILES: Final[Mapping[Plane, str]] = {Plane.MODEL: "model.bin", Plane.CONFIG: "config.json"}
"""What the workload finds in `DATA/model/current/current/` and `DATA/config/current/current/`."""
CHECKS: Final[Mapping[Plane, Check]] = {Plane.MODEL: bad_samples, Plane.CONFIG: bad_values}
"""What is looked at before a release is kept."""


@dataclass(frozen=True, slots=True)
class StaticPod:
    """The node's firmware is a Pod that its kubelet runs from a file."""

    manifests: Path
    """The kubelet's directory of static Pods."""
    pod: str
    """The one Pod that releases describe."""
    kubelet: str = HEALTHZ
    """URL at which the kubelet says how it is."""
    ctr: tuple[str, ...] = ()
    """containerd's client with what leads it to the kubelet's images; none: the kubelet deletes what it likes."""


@dataclass(frozen=True, slots=True)
class SystemdUnit:
    """The node's firmware is a service that its systemd runs."""

    unit: str
    """The one unit that releases describe."""
    units: Path = UNITS
    """systemd's directory of units, where the agent puts a link to the release that runs."""


@dataclass(frozen=True, slots=True)
class Program:
    """The node's firmware is a program that the agent keeps running."""


class Bootloader(StrEnum):
    """Which bootloader RAUC is set up with (`bootloader=` in its system.conf)."""

    UBOOT = "uboot"
    GRUB = "grub"


@dataclass(frozen=True, slots=True)
class SystemImage:
    """The node's firmware is its whole system, in two slots of RAUC's."""

    bootloader: Bootloader = Bootloader.UBOOT
    grubenv: Path = Path("/boot/grub/grubenv")
    """GRUB's environment block, where GRUB is the bootloader: RAUC's `grubenv=`."""


Firmware = StaticPod | SystemdUnit | Program | SystemImage


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
    firmware: Firmware | None = None
    """What the node's firmware is; None where it is not changed here."""
    keys: Keys = field(default_factory=dict)
    headroom_bytes: int = HEADROOM_BYTES
    """So much of the disk is kept free by deleting versions that are only retained."""
    safe_mode_file: Path = FILE
    """While it is there, the node is in safe mode."""
    root: Path = Path("/")
    """Of the file system that probes look at."""
    inference_url: str = "http://127.0.0.1:8080"
    lease_seconds: int = 120
    """How long the agent may be silent before the operator takes it for away."""
    metrics_at: tuple[str, int] | None = None
    """Where Prometheus is answered; None where it is not."""


def assemble(settings: Settings, client: KubeClient, session: aiohttp.ClientSession, clock: Clock) -> Node:
    """Wire an agent together; nothing runs yet."""
    data, transport = settings.data, Transport(session)
    registry = OciRegistry(transport)
    installers: dict[Plane, Installer] = {
        plane: Generations(plane, data / plane, name, CHECKS[plane]) for plane, name in FILES.items()
    }
    at_start = None
    if settings.firmware is not None:
        installers[Plane.FIRMWARE], at_start = _firmware(settings.firmware, data / Plane.FIRMWARE, session)
    failpoints = Failpoints.from_environment(AGENT)
    machine = Machine(installers, Journal(data / "state"), Times(clock, settings.boot), failpoints)
    verifier = verifier_with(settings.keys, transport, registry)
    surroundings = Surroundings(
        session,
        settings.inference_url,
        served=partial(served, data / Plane.MODEL),
        pods=partial(_pods, client, settings),
        root=settings.root,
        data=str(data),
    )
    has = partial(equipment, surroundings.at, _form(settings.firmware))
    cache = BlobCache(data / "cache", registry)
    fetching = Fetching(registry, cache, verifier, DEVICE_CLASS, clock, has)
    keeping = Keeping(machine, clock, free_on(data), settings.headroom_bytes, cache)
    commander = settings.commander
    life = SignOfLife(client, commander.namespace, commander.name, settings.lease_seconds, clock)
    return Node(
        commander,
        settings.node,
        client,
        machine,
        fetching,
        surroundings,
        life,
        clock,
        failpoints,
        at_start,
        keeping,
        safe_mode_file=settings.safe_mode_file,
    )


async def _pods(client: KubeClient, settings: Settings) -> list[dict[str, Any]]:
    """The node's Pods by the API server's word: its kubelet answers nobody who has only the node's certificate.

    The Pod that is the node's firmware is left out as long as it is still the one from before a change.
    """
    pages = client.list_pages(PODS, field_selector=f"spec.nodeName={settings.node}")
    found = [pod async for page in pages for pod in page.items]
    if not isinstance(settings.firmware, StaticPod):
        return found
    name = f"{settings.firmware.pod}-{settings.node}"
    manifest = settings.firmware.manifests / f"{settings.firmware.pod}.yaml"
    return [pod for pod in found if pod["metadata"]["name"] != name or await asyncio.to_thread(runs, manifest, pod)]


def _form(firmware: Firmware | None) -> str | None:
    """What the node's firmware is, in the word that artifacts use."""
    match firmware:
        case StaticPod():
            return "pod"
        case SystemdUnit():
            return "unit"
        case Program():
            return "program"
        case SystemImage():
            return "system"
        case None:
            return None
        case _:
            assert_never(firmware)


def _firmware(
    firmware: Firmware, directory: Path, session: aiohttp.ClientSession
) -> tuple[Installer, Callable[[], Awaitable[None]] | None]:
    """The installer, and what it has to do once in each boot."""
    match firmware:
        case StaticPod(manifests, pod, kubelet, ctr):
            images = ContainerdImages(ctr) if ctr else None
            place, health = StaticPodPlace(manifests, pod), KubeletHealth(session, kubelet)
            return StaticPodInstaller(directory, Plane.FIRMWARE, place, images=images, kubelet=health), None
        case SystemdUnit(unit, units):
            # The library for D-Bus takes 6 MB, which the other kinds need not have.
            from backstay.adapters.node.systemd import Systemd  # noqa: PLC0415
            from backstay.adapters.node.unit import UnitInstaller  # noqa: PLC0415

            return UnitInstaller(directory, Plane.FIRMWARE, unit, units=units, services=Systemd()), None
        case Program():
            return ProcessInstaller(directory, Plane.FIRMWARE), None
        case SystemImage(bootloader, grubenv):
            from backstay.adapters.node.boot_counters import GrubCounters, UBootCounters  # noqa: PLC0415
            from backstay.adapters.node.rauc import RaucInstaller  # noqa: PLC0415

            counters = GrubCounters(grubenv) if bootloader is Bootloader.GRUB else UBootCounters()
            rauc = RaucInstaller(directory, Plane.FIRMWARE, counters)
            return rauc, rauc.renew
        case _:
            assert_never(firmware)
