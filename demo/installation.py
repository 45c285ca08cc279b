"""Backstay as a platform team has it: an image in the registry, and the chart installed by helm as an administrator."""

import asyncio
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from backstay.adapters.kube.client import LEASES, KubeClient
from backstay.errors import BackstayError, NotFound
from backstay.ports.registry import Repository
from backstay.sandbox import Sandbox
from backstay.sandbox.build import helm_binaries
from backstay.sandbox.node.node import Node
from demo.processes import carried_out
from demo.resources import SYSTEM
from image.architectures import architecture
from image.build import build
from image.push import push

REPOSITORY: Final = Path(__file__).parent.parent
RELEASE: Final = "backstay"
OPERATOR: Final = "backstay-operator"
PAGE_PORT: Final = 8443
PAGE_SECRET: Final = "backstay-page-tls"  # noqa: S105 - the name of one
LEASE_SECONDS: Final = 10
LEADS_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.2
HELM_SECONDS: Final = 120
# What is installed was applied by hand before: kinds, accounts and rights.
TAKES_OVER: Final = ("--take-ownership", "--force-conflicts")

Json = dict[str, Any]


class HelmFailed(BackstayError):
    """helm did not do what it was told to."""


@dataclass(frozen=True, slots=True)
class Image:
    """Operator and bridge as a node pulls them."""

    repository: str
    digest: str


async def push_image(registry: str) -> Image:
    """Make the image of this checkout, and push it to the registry at `HOST:PORT`.

    Raises what `image.build.build` and `image.push.push` raise.
    """
    built = await asyncio.to_thread(build, architecture(None), lambda _: None)
    named = await push([built], Repository.parse(f"{registry}/platform/backstay"), built.version)
    repository, _, digest = named.partition("@")
    return Image(repository, digest)


def values(image: Image, node: Node, sandbox: Sandbox) -> Json:
    """The chart's values: one operator, with its page, on a node from which it sees Prometheus and Alertmanager."""
    return {
        "image": {"repository": image.repository, "digest": image.digest},
        "operator": {
            "replicas": 1,
            "leaseSeconds": LEASE_SECONDS,
            "prometheus": {"url": _from_inside(node, sandbox.prometheus_url)},
            "alertmanager": {"url": _from_inside(node, sandbox.alertmanager_url)},
            "page": {"enabled": True, "tls": {"secretName": PAGE_SECRET}},
            # On a node, as for its kubelet, the registry has the address that plans name; in a Pod's own network not.
            "hostNetwork": True,
            "nodeSelector": {"kubernetes.io/hostname": node.name},
        },
    }


async def give_page_a_certificate(sandbox: Sandbox) -> str:
    """Put the page's certificate where the chart looks for it, and return the command."""
    pair = sandbox.server_certificate("page", "127.0.0.1")
    files = (f"--cert={pair.certificate}", f"--key={pair.key}")
    await sandbox.kubectl("create", "secret", "tls", PAGE_SECRET, f"--namespace={SYSTEM}", *files)
    return f"kubectl create secret tls {PAGE_SECRET} --namespace={SYSTEM} --cert=page.crt --key=page.key"


async def install(sandbox: Sandbox, given: Json, directory: Path) -> str:
    """Install the chart with these values as the administrator, and return the command as it would be typed.

    Raises:
        HelmFailed: helm says no; the message has its words.
    """
    file = directory / "manifests" / "act-8-values.yaml"
    file.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    words = (
        "upgrade", "--install", RELEASE, "helm/backstay", "--namespace", SYSTEM, "--values", str(file), *TAKES_OVER,
        "--wait", f"--timeout={HELM_SECONDS}s",
    )  # fmt: skip
    environment = {"PATH": os.defpath, "HOME": str(directory / "helm"), "KUBECONFIG": str(sandbox.kubeconfig)}
    done = await carried_out(str(helm_binaries() / "helm"), *words, cwd=REPOSITORY, environment=environment)
    if done.status != 0:
        raise HelmFailed(f"helm ended with {done.status}: {done.complaint.strip()}")
    return shlex.join(("helm", *words)).replace(f"{REPOSITORY}/", "")


async def leading_pod(sandbox: Sandbox) -> str:
    """Wait until a Pod has the Lease, and return its name; the holder's has a suffix of the process.

    Raises:
        HelmFailed: it has none within the time.
    """
    async with KubeClient.connect(sandbox.kubeconfig) as client:
        for _ in range(round(LEADS_SECONDS / LOOK_SECONDS)):
            try:
                lease = await client.get(LEASES, OPERATOR, SYSTEM)
            except NotFound:
                lease = {}
            if str(holder := lease.get("spec", {}).get("holderIdentity") or "").startswith(f"{OPERATOR}-"):
                return str(holder).rsplit("-", 2)[0]
            await asyncio.sleep(LOOK_SECONDS)
    raise HelmFailed(
        f"no Pod led within {LEADS_SECONDS:.0f} s; look at `kubectl logs --namespace {SYSTEM} deployment/{OPERATOR}`"
    )


def _from_inside(node: Node, url: str) -> str:
    """Where a Pod on this node finds what listens on this machine."""
    return f"http://{node.address}:{url.rpartition(':')[2]}"
