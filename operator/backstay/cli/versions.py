"""Which content the name of a version means in a namespace: a hold freezes bytes, and people know names."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from backstay.core.planes import ContentDigest, Plane

if TYPE_CHECKING:
    from backstay.adapters.kube.client import KubeClient

Candidates = defaultdict[ContentDigest, list[str]]


async def content_of(kube: "KubeClient", namespace: str, plane: Plane, version: str) -> ContentDigest:
    """The one content that a version's name means: by what plans have shipped, what devices run, or the registry.

    Raises:
        Refused: the name means none or several; all that it could mean are named.
        BackstayError: the cluster cannot be read.
    """
    from backstay.errors import NotFound, Refused

    found = await _in_cluster(kube, namespace, plane, version) or await _in_registry(kube, namespace, plane, version)
    match list(found.items()):
        case []:
            raise NotFound(
                f"nothing in namespace {namespace} is called {plane} {version}: no plan names it, no device runs it; "
                f"write its content's digest, as {plane}=sha256:…"
            )
        case [(only, _)]:
            return only
        case several:
            told = "; ".join(f"{plane}={content} ({', '.join(where)})" for content, where in several)
            raise Refused(f"{plane} {version} is the name of {len(several)} contents; say which: {told}")


async def _in_cluster(kube: "KubeClient", namespace: str, plane: Plane, version: str) -> Candidates:
    from backstay.adapters.failpoints import Failpoints
    from backstay.adapters.kube.client import EDGE_DEVICES, RELEASE_PLANS
    from backstay.controllers.snapshots import Snapshots

    found: Candidates = defaultdict(list)
    snapshots = Snapshots(kube, Failpoints())
    plans = {(namespace, one["metadata"]["name"]): one for one in await kube.list(RELEASE_PLANS, namespace)}
    await snapshots.load({key: one["metadata"]["uid"] for key, one in plans.items()}, namespace)
    for key in plans:
        for snapshot in snapshots.of_plan(key):
            release = snapshot.releases.get(plane)
            if release is not None and release.version == version:
                found[release.content].append(f"plan {key[1]} {snapshot.revision}")
    for content, devices in _running(await kube.list(EDGE_DEVICES, namespace), plane, version).items():
        found[content].append(f"runs on {devices} device{'' if devices == 1 else 's'}")
    return found


def _running(devices: Iterable[dict[str, Any]], plane: Plane, version: str) -> dict[ContentDigest, int]:
    found: defaultdict[ContentDigest, int] = defaultdict(int)
    for device in devices:
        report = ((device.get("status") or {}).get("planes") or {}).get(plane.value) or {}
        if report.get("version") == version and report.get("running"):
            found[ContentDigest(report["running"])] += 1
    return found


async def _in_registry(kube: "KubeClient", namespace: str, plane: Plane, version: str) -> Candidates:
    """What a plan names that has not shipped it yet, by the registry's word."""
    import aiohttp

    from backstay.adapters.kube.client import EDGE_DEVICES, RELEASE_PLANS
    from backstay.adapters.oci.registry import OciRegistry
    from backstay.adapters.oci.transport import Transport
    from backstay.errors import Refused

    found: Candidates = defaultdict(list)
    wanted = [
        (one["metadata"]["name"], one["spec"]["versions"].get(plane.value))
        for one in await kube.list(RELEASE_PLANS, namespace)
    ]
    named = [(plan, one["artifact"]) for plan, one in wanted if one is not None and one["version"] == version]
    classes = {one["spec"]["class"] for one in await kube.list(EDGE_DEVICES, namespace)} if named else set()
    async with aiohttp.ClientSession() as session:
        registry = OciRegistry(Transport(session))
        for plan, artifact in named:
            for device_class in sorted(classes):
                # An artifact need not be there for every class.
                with suppress(Refused):
                    content = (await registry.resolve(artifact, device_class)).content
                    found[content].append(f"plan {plan}, for {device_class}")
    return found
