"""`backstay agent run`: follow a node's EdgeDevice, with no library but what the agent itself needs.

The library of the other commands takes 17 MB, of the 60 that an agent may have; so its options are read by argparse.
"""

import argparse
import asyncio
import logging
import re
import shlex
import signal
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backstay.adapters.node.boot_counters import GRUBENV
from backstay.adapters.node.kubelet_health import HEALTHZ
from backstay.adapters.oci.public_keys import load_keys
from backstay.agent.assembly import UNITS, Bootloader, Program, Settings, StaticPod, SystemdUnit, SystemImage
from backstay.agent.commander import read_commander
from backstay.agent.safety import FILE
from backstay.agent.service import serve
from backstay.core.addresses import host_and_port
from backstay.core.quantities import bytes_of
from backstay.logs import LogFormat, always_about, write_log

if TYPE_CHECKING:
    from backstay.agent.assembly import Firmware

DATA: Final = Path("/var/lib/backstay")
MANIFESTS: Final = Path("/var/lib/rancher/k3s/agent/pod-manifests")
KUBECONFIG: Final = Path("/var/lib/rancher/k3s/agent/kubelet.kubeconfig")
COMMANDER: Final = Path("/etc/backstay/device")
CTR: Final = "k3s ctr --namespace=k8s.io"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
LONGEST_LEASE_SECONDS: Final = 86400


class FirmwareKind(StrEnum):
    """What `--firmware` takes."""

    NONE = "none"
    POD = "pod"
    UNIT = "unit"
    PROGRAM = "program"
    SYSTEM = "system"


def main(arguments: Sequence[str]) -> None:
    """Run until ended by SIGTERM or Ctrl-C."""
    options = parser()
    asked = options.parse_args(arguments)
    if asked.firmware is FirmwareKind.POD and not asked.pod:
        options.error("--firmware pod needs the name of the Pod: --pod NAME")
    if asked.firmware is FirmwareKind.UNIT and not asked.unit:
        options.error("--firmware unit needs the name of the unit: --unit NAME.service")
    write_log(asked.log_format, logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    commander = read_commander(asked.commander)
    always_about(namespace=commander.namespace, device=commander.name)
    settings = Settings(
        commander=commander,
        node=asked.node or "",
        data=asked.data,
        firmware=_firmware(asked),
        boot=BOOT_ID.read_text(encoding="ascii").strip(),
        keys={} if asked.keys is None else load_keys(asked.keys),
        headroom_bytes=asked.headroom,
        safe_mode_file=asked.safe_mode_file,
        inference_url=asked.inference_url,
        lease_seconds=asked.lease_seconds,
        metrics_at=asked.metrics_listen,
    )
    asyncio.run(_until_ended(settings, asked.kubeconfig, asked.server))


async def _until_ended(settings: Settings, kubeconfig: Path, server: str | None) -> None:
    serving = asyncio.create_task(serve(settings, kubeconfig, server, lambda line: print(line, flush=True)))
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("the agent ended")


def parser() -> argparse.ArgumentParser:
    """All options, with what each is for."""
    options = argparse.ArgumentParser(
        prog="backstay agent run",
        description="Follow the node's EdgeDevice until ended by SIGTERM or Ctrl-C.",
        allow_abbrev=False,
    )
    text = "Root-owned file with NAMESPACE/NAME of the one EdgeDevice that commands this node. [default: %(default)s]"
    options.add_argument("--commander", type=Path, metavar="PATH", default=COMMANDER, help=text)
    options.add_argument("--node", metavar="NAME", help="The node's own name. Absent: as its certificate says.")
    text = "The kubelet's kubeconfig, whose identity the agent has. [default: %(default)s]"
    options.add_argument("--kubeconfig", type=Path, metavar="PATH", default=KUBECONFIG, help=text)
    text = "URL of the API server. Absent: the kubeconfig's, on K3s a local balancer."
    options.add_argument("--server", metavar="URL", help=text)
    text = (
        "What the firmware is: a static Pod, a systemd unit, a program, the whole system, none. [default: %(default)s]"
    )
    options.add_argument(
        "--firmware", type=FirmwareKind, choices=tuple(FirmwareKind), default=FirmwareKind.NONE, help=text
    )
    text = "With --firmware pod: the kubelet's directory of static Pods. [default: %(default)s]"
    options.add_argument("--manifests", type=Path, metavar="PATH", default=MANIFESTS, help=text)
    text = "With --firmware pod: the name of the one Pod that is changed."
    options.add_argument("--pod", metavar="NAME", help=text)
    text = "With --firmware pod: where the kubelet says how it is; while it is not well, nothing begins."
    options.add_argument("--kubelet", metavar="URL", default=HEALTHZ, help=f"{text} [default: %(default)s]")
    text = "With --firmware pod: containerd's client, to keep images of the fallback; empty: nothing keeps them."
    options.add_argument("--ctr", type=shlex.split, metavar="COMMAND", default=CTR, help=f"{text} [default: {CTR}]")
    text = "With --firmware unit: the one unit that releases describe, such as vision.service."
    options.add_argument("--unit", type=_unit_name, metavar="NAME", help=text)
    text = "With --firmware unit: systemd's directory of units. [default: %(default)s]"
    options.add_argument("--units", type=Path, metavar="PATH", default=UNITS, help=text)
    text = "With --firmware system: the `bootloader=` of RAUC's system.conf. [default: %(default)s]"
    kinds = tuple(Bootloader)
    options.add_argument("--bootloader", type=Bootloader, choices=kinds, default=Bootloader.UBOOT, help=text)
    text = "With --bootloader grub: the `grubenv=` of RAUC's system.conf. [default: %(default)s]"
    options.add_argument("--grubenv", type=Path, metavar="PATH", default=GRUBENV, help=text)
    text = "Where the agent keeps its journal, artifacts, models and configs. [default: %(default)s]"
    options.add_argument("--data", type=Path, metavar="PATH", default=DATA, help=text)
    text = "Directory of public keys that must have signed artifacts."
    options.add_argument("--keys", type=Path, metavar="PATH", help=text)
    text = "Disk to keep free, by deleting what is only retained; of a small disk 5 %%. [default: %(default)s]"
    options.add_argument("--headroom", type=_bytes, metavar="BYTES", default="512Mi", help=text)
    text = "While this file is there, the node is in safe mode; only root may write where it is. [default: %(default)s]"
    options.add_argument("--safe-mode-file", type=Path, metavar="PATH", default=FILE, help=text)
    text = "Where the inference server speaks the Open Inference Protocol v2. [default: %(default)s]"
    options.add_argument("--inference-url", metavar="URL", default="http://127.0.0.1:8080", help=text)
    text = "Silent for so long, the node counts as away; three times as often it is heard. [default: %(default)s]"
    options.add_argument("--lease-seconds", type=_lease_seconds, metavar="SECONDS", default=120, help=text)
    text = "Answer Prometheus at HOST:PORT. Absent: nowhere."
    options.add_argument("--metrics-listen", type=_address, metavar="HOST:PORT", help=text)
    text = "How the log is written to standard error. [default: %(default)s]"
    options.add_argument("--log-format", type=LogFormat, choices=tuple(LogFormat), default=LogFormat.TEXT, help=text)
    return options


def _address(text: str) -> tuple[str, int]:
    try:
        return host_and_port(text, "127.0.0.1:9465")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _unit_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\.service", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no unit's name such as vision.service")
    return text


def _lease_seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 3 <= int(text) <= LONGEST_LEASE_SECONDS):  # noqa: PLR2004 - a second each
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 3 to {LONGEST_LEASE_SECONDS}")
    return int(text)


def _bytes(text: str) -> int:
    try:
        return bytes_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _firmware(asked: argparse.Namespace) -> "Firmware | None":
    kind: FirmwareKind = asked.firmware
    match kind:
        case FirmwareKind.NONE:
            return None
        case FirmwareKind.PROGRAM:
            return Program()
        case FirmwareKind.UNIT:
            return SystemdUnit(asked.unit, asked.units)
        case FirmwareKind.SYSTEM:
            return SystemImage(asked.bootloader, asked.grubenv)
        case FirmwareKind.POD:
            return StaticPod(asked.manifests, asked.pod, asked.kubelet, tuple(asked.ctr))
