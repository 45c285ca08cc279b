"""Reads the manifest of a static Pod, and refuses by name whatever a node could not keep running on its own.

A static Pod cannot refer to objects of the API, so ConfigMaps, Secrets, service accounts and claims are refused. Images
are named by digest and never pulled again when they are there: otherwise a fallback would need a network, or would
not be what ran before.

Source: https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/ and
https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from backstay.core.device import Cause, Reason
from backstay.ports.installer import CannotInstall

LONGEST_BYTES: Final = 256 * 1024
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_IMAGE: Final = re.compile(r"[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}")

_POD: Final = {"apiVersion", "kind", "metadata", "spec"}
_METADATA: Final = {"name", "namespace", "labels", "annotations"}
_SPEC: Final = {
    "activeDeadlineSeconds",
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostNetwork",
    "hostname",
    "initContainers",
    "os",
    "priority",
    "priorityClassName",
    "restartPolicy",
    "securityContext",
    "shareProcessNamespace",
    "terminationGracePeriodSeconds",
    "tolerations",
    "volumes",
}
_CONTAINER: Final = {
    "args",
    "command",
    "env",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "restartPolicy",
    "securityContext",
    "startupProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
}
_VOLUME: Final = {"name", "downwardAPI", "emptyDir", "hostPath"}
_VALUE: Final = {"fieldRef", "resourceFieldRef"}
_NOTICED: Final = ("name", "image", "command", "args", "env")


@dataclass(frozen=True, slots=True)
class PodManifest:
    """What the node has to know of a Pod that it is to keep running."""

    name: str
    images: tuple[str, ...]


class _PlainLoader(yaml.SafeLoader):
    """YAML without what makes a text mean something else than it seems to: no aliases, no key twice."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - as PyYAML has it
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias: write out what it stands for")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        keys = [key.value for key, _ in node.value]
        if twice := {str(key) for key in keys if keys.count(key) > 1}:
            raise yaml.YAMLError(f"{', '.join(sorted(twice))} twice, at {node.start_mark}")
        return super().construct_mapping(node, deep)


def read_pod(payload: bytes) -> PodManifest:
    """Read one Pod from YAML or JSON.

    Raises:
        CannotInstall: it is not a Pod that a node can keep running on its own, with every reason why.
    """
    document = _parsed(payload)
    if faults := tuple(_faults(document)):
        raise _rejected("; ".join(faults))
    images = tuple(container["image"] for _, container in _containers(document["spec"]))
    return PodManifest(document["metadata"]["name"], images)


def _parsed(payload: bytes) -> Mapping[str, Any]:
    if len(payload) > LONGEST_BYTES:
        raise _rejected(f"it has {len(payload)} bytes, and a Pod's manifest at most {LONGEST_BYTES}")
    try:
        document = yaml.load(payload, _PlainLoader)  # noqa: S506 - a child of the safe one
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        raise _rejected(f"it is not one document of plain YAML or JSON: {error}") from error
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != ("v1", "Pod"):
        raise _rejected("its apiVersion and kind are not v1 and Pod")
    return document


def runs(manifest: Path, pod: Mapping[str, Any]) -> bool:
    """Tell whether a Pod as the API shows it is the manifest's: the kubelet takes a while to follow a change.

    What a container would notice is compared: its image, command, arguments and environment. A manifest that cannot be
    read has no Pod. Blocking.
    """
    try:
        wanted = _parsed(manifest.read_bytes())
    except (OSError, CannotInstall):
        return False
    return _essence(wanted.get("spec") or {}) == _essence(pod.get("spec") or {})


def _essence(spec: Mapping[str, Any]) -> list[list[Any]]:
    return [[container.get(name) or None for name in _NOTICED] for _, container in _containers(spec)]


def _rejected(detail: str) -> CannotInstall:
    return CannotInstall(Cause(Reason.REJECTED, f"the payload is no static Pod: {detail}"))


def _faults(pod: Mapping[str, Any]) -> Iterator[str]:
    metadata, spec = pod.get("metadata"), pod.get("spec")
    yield from _unknown(pod, _POD, "")
    if not isinstance(metadata, dict) or not _NAME.fullmatch(str(metadata.get("name"))):
        yield "metadata.name is not a name of at most 63 small letters, digits and dashes"
    else:
        yield from _unknown(metadata, _METADATA, "metadata.")
    if not isinstance(spec, dict) or not isinstance(spec.get("containers"), list) or not spec["containers"]:
        yield "spec.containers lists no container"
        return
    yield from _unknown(spec, _SPEC, "spec.")
    yield from _list_faults(spec)
    for where, container in _containers(spec):
        yield from _container_faults(where, container)
    for number, volume in enumerate(_listed(spec, "volumes")):
        yield from _unknown(volume, _VOLUME, f"spec.volumes[{number}].")


def _list_faults(spec: Mapping[str, Any]) -> Iterator[str]:
    for name in ("containers", "initContainers", "volumes"):
        if not isinstance(spec.get(name) or [], list) or not all(isinstance(one, dict) for one in spec.get(name) or []):
            yield f"spec.{name} is not a list of objects"


def _listed(parent: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = parent.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in ("initContainers", "containers"):
        for number, container in enumerate(_listed(spec, name)):
            yield f"spec.{name}[{number}].", container


def _container_faults(where: str, container: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(container, _CONTAINER, where)
    if not _IMAGE.fullmatch(str(container.get("image"))):
        yield f"{where}image is {container.get('image')!r}, which does not end in @sha256: and a digest"
    if container.get("imagePullPolicy") == "Always":
        yield f"{where}imagePullPolicy is Always, so that a fallback would need a network: leave it out"
    for number, variable in enumerate(_listed(container, "env")):
        source = variable.get("valueFrom") or {}
        yield from _unknown(source, _VALUE, f"{where}env[{number}].valueFrom.")


def _unknown(found: Any, known: set[str], where: str) -> Iterator[str]:  # noqa: ANN401 - anything a person may write
    if not isinstance(found, dict):
        yield f"{where.rstrip('.')} is not an object"
        return
    yield from (f"{where}{name} is not taken here" for name in sorted(map(str, found)) if name not in known)
