"""The operator at acceptance, and the bridge where it hands the bytes on, with what the real cosign signed."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from backstay.adapters.kube.client import KubeClient
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import Devices, applied, plan, push, running_operator
from tests.cluster.test_bridge import artifact, device_of, order, running_bridge, session, tenant
from tests.contracts.cosign import Cosign

__all__ = ["artifact", "session", "tenant"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    """The signer whose key is installed."""
    return Cosign.with_new_keys(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    return Cosign.with_new_keys(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def keys(release: Cosign, tmp_path: Path) -> Path:
    directory = tmp_path / "keys"
    directory.mkdir()
    (directory / "release.pub").write_bytes(release.public_key)
    return directory


@pytest.mark.parametrize("bundle", [True, False], ids=["bundle", "tag"])
async def test_operator_ships_what_a_trusted_key_signed(
    sandbox: Sandbox,
    kube: KubeClient,
    namespace: str,
    fleet: Devices,
    tmp_path: Path,
    keys: Path,
    release: Cosign,
    bundle: bool,
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    await release.sign(str(model.reference), bundle=bundle)
    async with running_operator(sandbox, tmp_path, "--keys", str(keys)):
        vision = await applied(kube, namespace, plan("vision", model))
        await vision.reaches("Succeeded")
        verified = await vision.condition("Verified")
    assert verified["status"] == "True"
    assert set((await fleet.running(Plane.MODEL)).values()) == {model.content}


async def test_operator_refuses_by_name_when_a_stranger_signed(
    sandbox: Sandbox,
    kube: KubeClient,
    namespace: str,
    fleet: Devices,
    tmp_path: Path,
    keys: Path,
    stranger: Cosign,
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    await stranger.sign(str(model.reference), bundle=True)
    async with running_operator(sandbox, tmp_path, "--keys", str(keys)):
        vision = await applied(kube, namespace, plan("vision", model))
        await vision.until(lambda status: "conditions" in status)
        accepted = await vision.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "NotVerified")
    assert "SignatureNotTrusted" in accepted["message"]
    assert fleet.orders == []


async def test_operator_ships_what_it_refused_when_it_is_signed_after_all(
    sandbox: Sandbox,
    kube: KubeClient,
    namespace: str,
    fleet: Devices,
    tmp_path: Path,
    keys: Path,
    release: Cosign,
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path, "--keys", str(keys)):
        vision = await applied(kube, namespace, plan("vision", model))
        await vision.until(lambda status: "conditions" in status)
        assert (await vision.condition("Accepted"))["reason"] == "NotVerified"
        await release.sign(str(model.reference), bundle=True)
        await vision.reaches("Succeeded")


@pytest.mark.parametrize("bundle", [True, False], ids=["bundle", "tag"])
async def test_bridge_offers_what_a_trusted_key_signed(
    sandbox: Sandbox,
    kube: KubeClient,
    namespace: str,
    tenant: bytes,
    session: aiohttp.ClientSession,
    artifact: ArtifactDescription,
    tmp_path: Path,
    keys: Path,
    release: Cosign,
    bundle: bool,
) -> None:
    await release.sign(str(artifact.reference), bundle=bundle)
    async with running_bridge(sandbox, namespace, tmp_path, "--keys", str(keys)) as bridge:
        device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
        await order(kube, namespace, "cam-1", 1, artifact)
        await device.offered()


async def test_bridge_never_offers_what_a_stranger_signed(
    sandbox: Sandbox,
    kube: KubeClient,
    namespace: str,
    tenant: bytes,
    session: aiohttp.ClientSession,
    artifact: ArtifactDescription,
    tmp_path: Path,
    keys: Path,
    stranger: Cosign,
) -> None:
    await stranger.sign(str(artifact.reference), bundle=True)
    async with running_bridge(sandbox, namespace, tmp_path, "--keys", str(keys)) as bridge:
        device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
        # The operator would not order it; the bridge looks again, because anybody might have written the order.
        await order(kube, namespace, "cam-1", 1, artifact)
        async with asyncio.timeout(10):
            while "is never offered to a device" not in bridge.log.read_text():
                assert "deploymentBase" not in await device.links()
                await asyncio.sleep(0.1)
        assert "deploymentBase" not in await device.links()
    assert "none of release.pub has signed" in bridge.log.read_text()
    held = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert artifact.size_bytes not in {path.stat().st_size for path in held}
