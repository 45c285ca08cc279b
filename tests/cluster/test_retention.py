"""What the operator keeps of earlier revisions, against the real API server with its own rights."""

import asyncio
from pathlib import Path

from backstay.adapters.kube.client import CONTROLLER_REVISIONS, KubeClient
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import Devices, Plan, applied, cameras, obeying, plan, push, ring, running_operator

RINGS = [ring("everyone", size="100%", inFlight="100%", soak="0s")]


async def kept(kube: KubeClient, namespace: str) -> set[int]:
    """The counters of the revisions that are on record."""
    return {found["revision"] for found in await kube.list(CONTROLLER_REVISIONS, namespace)}


async def released(vision: Plan, artifact: ArtifactDescription) -> None:
    versions = {"model": {"version": artifact.version, "artifact": str(artifact.reference)}}
    before = (await vision.status())["revision"]
    await vision.edit(versions=versions)
    await vision.until(lambda status: status["phase"] == "Succeeded" and status["revision"] != before)


async def test_operator_forgets_a_revision_when_no_device_has_what_it_shipped_and_keeps_the_others(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    fleet = Devices(kube, namespace)
    await cameras(kube, namespace)
    await fleet.create("cam-0", "cam-1", kind="camera")
    models = [await push(sandbox, tmp_path, Plane.MODEL, f"{number}.0.0") for number in (1, 2, 3)]
    async with obeying(fleet):
        async with running_operator(sandbox, tmp_path):
            vision = await applied(kube, namespace, plan("vision", models[0], rings=RINGS, retain="1h"))
            await vision.reaches("Succeeded")
            for model in models[1:]:
                await released(vision, model)
            assert await kept(kube, namespace) == {1, 2, 3}
        # It looks through them at its start, and then every few minutes.
        async with running_operator(sandbox, tmp_path) as operator:
            await operator.hears("reconciling")
            await asyncio.sleep(2)
            assert await kept(kube, namespace) == {1, 2, 3}, "the plan retains versions for an hour"
        await vision.edit(retain="0s")
        async with running_operator(sandbox, tmp_path) as operator:
            await operator.hears("forgot revision")
            # The second is what devices fall back to.
            assert await kept(kube, namespace) == {2, 3}
            assert (await vision.status())["phase"] == "Succeeded"
