"""What a node could not keep running on its own is refused, each thing by its name."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.adapters.node.pod_manifest import LONGEST_BYTES, read_pod, runs
from backstay.ports.installer import CannotInstall

IMAGE = f"registry.example/vision@sha256:{'a' * 64}"
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "vision", "namespace": "acme", "labels": {"app": "vision"}},
    "spec": {
        "hostNetwork": True,
        "initContainers": [{"name": "first", "image": IMAGE.replace("a" * 64, "b" * 64)}],
        "containers": [
            {
                "name": "vision",
                "image": IMAGE,
                "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "volumeMounts": [{"name": "models", "mountPath": "/models"}],
            }
        ],
        "volumes": [{"name": "models", "hostPath": {"path": "/var/lib/backstay/models"}}],
    },
}


def refusal(payload: bytes) -> str:
    with pytest.raises(CannotInstall) as refused:
        read_pod(payload)
    return refused.value.cause.detail


def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    pod = copy.deepcopy(POD)
    change(pod)
    return yaml.safe_dump(pod).encode()


def test_pod_is_read_with_its_images_when_it_can_run_on_its_own() -> None:
    found = read_pod(yaml.safe_dump(POD).encode())
    assert found.name == "vision"
    assert found.images == (IMAGE.replace("a" * 64, "b" * 64), IMAGE)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda pod: pod.update(kind="Deployment"), "apiVersion and kind"),
        (lambda pod: pod.update(status={}), "status is not taken here"),
        (lambda pod: pod["metadata"].update(name="Vision!"), "metadata.name"),
        (lambda pod: pod["metadata"].update(finalizers=["x"]), "metadata.finalizers"),
        (lambda pod: pod["spec"].update(serviceAccountName="admin"), "spec.serviceAccountName"),
        (lambda pod: pod["spec"].update(nodeName="other"), "spec.nodeName"),
        (lambda pod: pod["spec"].update(hostPID=True), "spec.hostPID"),
        (lambda pod: pod["spec"].update(containers=[]), "spec.containers"),
        (lambda pod: pod["spec"].update(containers="x"), "spec.containers"),
        (lambda pod: pod["spec"].update(volumes=["x"]), "spec.volumes is not a list of objects"),
        (lambda pod: pod["spec"].update(volumes=[{"name": "x", "secret": {}}]), r"spec.volumes[0].secret"),
        (lambda pod: pod["spec"]["containers"][0].update(image="vision:latest"), "'vision:latest'"),
        (lambda pod: pod["spec"]["initContainers"][0].pop("image"), "spec.initContainers[0].image"),
        (lambda pod: pod["spec"]["containers"][0].update(imagePullPolicy="Always"), "imagePullPolicy"),
        (lambda pod: pod["spec"]["containers"][0].update(envFrom=[]), "spec.containers[0].envFrom"),
        (
            lambda pod: pod["spec"]["containers"][0]["env"][0].update(valueFrom={"secretKeyRef": {}}),
            "spec.containers[0].env[0].valueFrom.secretKeyRef",
        ),
    ],
)
def test_pod_is_refused_by_name_when_it_has_what_a_node_cannot_keep(change: Any, named: str) -> None:
    assert named in refusal(changed(change))


def test_pod_is_refused_with_every_fault_when_there_are_several() -> None:
    detail = refusal(changed(lambda pod: (pod.update(status={}), pod["spec"].update(hostIPC=True))))
    assert "status" in detail
    assert "spec.hostIPC" in detail


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (b"\xff\xfe\x00", "not one document"),
        (b"apiVersion: v1\nkind: Pod\nkind: Pod\n", "kind twice"),
        (b"a: &x [1]\nb: *x\n", "alias"),
        (b"apiVersion: v1\nkind: Pod\n---\nkind: Pod\n", "not one document"),
        (b"!!python/object:os.system {}", "not one document"),
        (b"[" * 5000, "not one document"),
        (b"- a list", "apiVersion and kind"),
        (b" " * (LONGEST_BYTES + 1), "at most"),
        (b"", "apiVersion and kind"),
    ],
)
def test_text_is_refused_when_it_is_not_one_plain_document(payload: bytes, named: str) -> None:
    assert named in refusal(payload)


@pytest.mark.parametrize(
    ("change", "is_same"),
    [({}, True), ({"image": "registry.example/other@sha256:" + "1" * 64}, False), ({"command": ["/bin/false"]}, False)],
)
def test_pod_is_the_manifests_when_a_container_would_notice_no_difference(
    tmp_path: Path, change: dict[str, object], is_same: bool
) -> None:
    container = {"name": "vision", "image": "registry.example/vision@sha256:" + "0" * 64, "command": ["/bin/true"]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "vision"}, "spec": {"containers": [container]}}
    (tmp_path / "vision.yaml").write_text(json.dumps(manifest))
    shown = {**container, "resources": {}, "imagePullPolicy": "IfNotPresent", **change}
    assert runs(tmp_path / "vision.yaml", {"spec": {"containers": [shown], "nodeName": "box-1"}}) is is_same
    assert not runs(tmp_path / "nothing.yaml", {"spec": {"containers": [shown]}})
