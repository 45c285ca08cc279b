"""A node's manifest is read as it lies there, whoever put it there, and the images that must stay are named."""

import json
from pathlib import Path

import pytest

from backstay.adapters.node.static_pod import StaticPodInstaller, StaticPodPlace
from backstay.core.device import Reason
from backstay.core.planes import Plane
from backstay.ports.installer import CannotInstall, Storage
from tests.contracts.installers import Delivery, delivery, digest_of, pod_of


def installer_in(directory: Path) -> StaticPodInstaller:
    return StaticPodInstaller(directory / "state", Plane.FIRMWARE, StaticPodPlace(directory / "manifests", "vision"))


def deliver(directory: Path, version: str, number: int, payload: bytes | None = None) -> Delivery:
    path = directory / f"download-{version}"
    path.write_bytes(payload or pod_of(version))
    return delivery(path, version, number)


def image_of(version: str) -> str:
    return f"registry.example/vision@{digest_of(version.encode())}"


async def install(installer: StaticPodInstaller, one: Delivery) -> None:
    await installer.stage(one.order, one.artifact, one.payload)
    await installer.switch(one.order)
    await installer.confirm(one.order)


async def test_node_without_a_manifest_runs_nothing_and_then_its_first_release(tmp_path: Path) -> None:
    installer = installer_in(tmp_path)
    assert await installer.look() == Storage()
    assert await installer.images() == ()
    one = deliver(tmp_path, "1.0.0", 1)
    await install(installer, one)
    assert await installer.look() == Storage(running=one.release)


async def test_images_of_what_runs_and_of_the_fallback_must_stay(tmp_path: Path) -> None:
    installer = installer_in(tmp_path)
    for number, version in enumerate(("1.0.0", "2.0.0", "3.0.0"), start=1):
        await install(installer, deliver(tmp_path, version, number))
    assert await installer.images() == (image_of("3.0.0"), image_of("2.0.0"))


async def test_manifest_of_a_person_is_the_fallback_when_it_ran_before(tmp_path: Path) -> None:
    installer = installer_in(tmp_path)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "vision.yaml").write_bytes(pod_of("1.0.0"))
    found = (await installer.look()).running
    assert found is not None
    assert (found.version, found.content) == ("unknown", digest_of(pod_of("1.0.0")))
    await install(installer, deliver(tmp_path, "2.0.0", 2))
    assert await installer.images() == (image_of("2.0.0"), image_of("1.0.0"))
    await installer.fall_back()
    assert (tmp_path / "manifests" / "vision.yaml").read_bytes() == pod_of("1.0.0")


async def test_record_is_not_believed_when_a_person_changed_the_manifest(tmp_path: Path) -> None:
    installer = installer_in(tmp_path)
    await install(installer, deliver(tmp_path, "1.0.0", 1))
    two = deliver(tmp_path, "2.0.0", 2)
    await installer.stage(two.order, two.artifact, two.payload)
    await installer.switch(two.order)
    (tmp_path / "manifests" / "vision.yaml").write_bytes(b"kind: Surprise\n")
    found = await installer.look()
    assert found.running is not None
    assert found.running.content == digest_of(b"kind: Surprise\n")
    assert (found.on_trial, found.fallback) == (None, None)
    assert await installer.images() == ()


async def test_pod_is_refused_when_it_has_another_name_than_the_nodes(tmp_path: Path) -> None:
    pod = json.loads(pod_of("1.0.0"))
    pod["metadata"]["name"] = "etcd"
    one = deliver(tmp_path, "1.0.0", 1, json.dumps(pod).encode())
    with pytest.raises(CannotInstall, match="etcd, and the Pod of this node is vision") as refusal:
        await installer_in(tmp_path).stage(one.order, one.artifact, one.payload)
    assert refusal.value.cause.reason is Reason.REJECTED


async def test_kubelet_never_sees_a_manifest_that_is_not_whole(tmp_path: Path) -> None:
    installer = installer_in(tmp_path)
    await install(installer, deliver(tmp_path, "1.0.0", 1))
    assert [path.name for path in (tmp_path / "manifests").iterdir()] == ["vision.yaml"]
