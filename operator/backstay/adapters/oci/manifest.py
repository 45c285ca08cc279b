"""Manifest bytes in, an artifact's description out; nothing is fetched here.

Source: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
"""

import hashlib
import re
from typing import Any, Final

import orjson
from semver import Version

from backstay.adapters.oci.media_types import (
    DEVICE_CLASS,
    FORM,
    JSON_SCHEMA,
    LEAST_DRIVER,
    LEAST_RUNTIME,
    NPU_TARGETS,
    OCI_INDEX,
    OCI_MANIFEST,
    PLANE,
    PLANE_TYPES,
    RELEASE_NUMBER,
    REQUIRES,
    SAMPLES,
    SERVED_AS,
    VERSION,
)
from backstay.core.needs import Needs, ServedAs
from backstay.core.planes import ContentDigest, Plane, Requirement, VersionRange
from backstay.ports.registry import (
    ArtifactAltered,
    ArtifactDescription,
    ArtifactMalformed,
    ArtifactMissing,
    Blob,
    ManifestDigest,
    Reference,
)

Json = dict[str, Any]

PUSH_AGAIN: Final = "push it with `backstay push`"

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


def digest_of(data: bytes) -> str:
    """The digest that names these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def checked(data: bytes, reference: Reference) -> Json:
    """Read a manifest or an index whose bytes are those that the reference names.

    Raises:
        ArtifactAltered: they are not.
        ArtifactMalformed: they are, and they are no JSON object.
    """
    if (found := digest_of(data)) != reference.digest:
        msg = (
            f"the registry's manifest for {reference} has the digest {found}: it was altered there or on the way; "
            f"push the artifact again and compare the digests"
        )
        raise ArtifactAltered(msg)
    return parsed(data, str(reference))


def is_digest(text: str) -> bool:
    """Whether a text is a digest as Backstay uses them; nothing else from a registry may get into a URL."""
    return _DIGEST.fullmatch(text) is not None


def parsed(data: bytes, where: str, remedy: str = PUSH_AGAIN) -> Json:
    """Read bytes as a JSON object; `remedy` is what the message tells people to do if they are none.

    Raises:
        ArtifactMalformed: they are none.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _malformed(where, f"is not JSON: {error}", remedy) from error
    if not isinstance(value, dict):
        raise _malformed(where, "is not a JSON object", remedy)
    return value


def is_index(document: Json) -> bool:
    """Whether the document lists manifests, one for each device class, rather than being one."""
    return document.get("mediaType") == OCI_INDEX or ("manifests" in document and "layers" not in document)


def manifest_for_class(index: Json, reference: Reference, device_class: str) -> ManifestDigest:
    """The digest of the index's manifest for a device class.

    Raises:
        ArtifactMissing: there is none.
        ArtifactMalformed: there are several, or the index is not readable.
    """
    entries = _objects(index, "manifests", reference)
    found = [entry for entry in entries if _annotations(entry, reference).get(DEVICE_CLASS) == device_class]
    if not found:
        known = sorted({_annotations(entry, reference).get(DEVICE_CLASS, "without a class") for entry in entries})
        msg = f"{reference} has nothing for the device class {device_class}; it has {', '.join(known) or 'nothing'}"
        raise ArtifactMissing(msg)
    if len(found) > 1:
        raise _malformed(reference, f"lists {len(found)} manifests for the device class {device_class}")
    return ManifestDigest(_blob(found[0], reference).digest)


def describe(document: Json, reference: Reference, manifest: ManifestDigest, device_class: str) -> ArtifactDescription:
    """Describe the artifact that a verified manifest defines.

    Raises:
        ArtifactMissing: it is for another device class.
        ArtifactMalformed: something that Backstay needs is missing or wrong; the message names it.
    """
    if document.get("mediaType", OCI_MANIFEST) != OCI_MANIFEST:
        raise _malformed(reference, f"has the media type {document['mediaType']!r}, not {OCI_MANIFEST}")
    annotations = _annotations(document, reference)
    plane = _plane(document, annotations, reference)
    _require_class(annotations, reference, device_class)
    layers = tuple(_blob(layer, reference) for layer in _objects(document, "layers", reference))
    return ArtifactDescription(
        reference=reference,
        manifest=manifest,
        plane=plane,
        version=_version(annotations, reference),
        device_class=device_class,
        payload=_payload(layers, plane, reference),
        requires=_requirements(annotations, plane, reference),
        schema=_only(layers, JSON_SCHEMA, reference) if plane is Plane.CONFIG else None,
        release_number=_release_number(annotations, reference),
        annotations=annotations,
        needs=_needs(annotations, reference),
        samples=_only(layers, SAMPLES, reference) if plane is Plane.MODEL else None,
        served=_served(annotations, reference) if plane is Plane.MODEL else None,
    )


def _malformed(where: object, what: str, remedy: str = PUSH_AGAIN) -> ArtifactMalformed:
    return ArtifactMalformed(f"{where} {what}; {remedy}")


def _objects(document: Json, name: str, reference: Reference) -> list[Json]:
    found = document.get(name)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise _malformed(reference, f"has no list of {name}")
    return found


def _annotations(document: Json, reference: Reference) -> dict[str, str]:
    found = document.get("annotations") or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _malformed(reference, "has annotations that are not texts")
    return found


def _blob(descriptor: Json, reference: Reference) -> Blob:
    digest, size, media_type = (descriptor.get(name) for name in ("digest", "size", "mediaType"))
    if not isinstance(digest, str) or not is_digest(digest):
        raise _malformed(reference, f"names the digest {digest!r}, which is not sha256: and 64 hexadecimal digits")
    if type(size) is not int or size < 0 or not isinstance(media_type, str):
        raise _malformed(reference, f"has a descriptor without a size or a media type, for {digest}")
    return Blob(ContentDigest(digest), size, media_type)


def _plane(document: Json, annotations: dict[str, str], reference: Reference) -> Plane:
    name = annotations.get(PLANE)
    if name not in set(Plane):
        raise _malformed(reference, f"has the annotation {PLANE}={name}, which is none of {', '.join(Plane)}")
    plane = Plane(name)
    expected = PLANE_TYPES[plane].artifact
    if (found := document.get("artifactType")) != expected:
        raise _malformed(reference, f"is a {plane} by its annotation but has the artifactType {found}, not {expected}")
    return plane


def _require_class(annotations: dict[str, str], reference: Reference, device_class: str) -> None:
    if (found := annotations.get(DEVICE_CLASS)) != device_class:
        msg = f"{reference} is for the device class {found}, not for {device_class}; push one for {device_class}"
        raise ArtifactMissing(msg)


def _version(annotations: dict[str, str], reference: Reference) -> str:
    version = annotations.get(VERSION, "")
    if not Version.is_valid(version):
        raise _malformed(reference, f"has the annotation {VERSION}={version!r}, which is not a semantic version")
    return version


def _payload(layers: tuple[Blob, ...], plane: Plane, reference: Reference) -> Blob:
    media_type = PLANE_TYPES[plane].payload
    if (found := _only(layers, media_type, reference)) is None:
        raise _malformed(reference, f"has no layer of the type {media_type}")
    if found.size_bytes == 0:
        raise _malformed(reference, "has an empty payload")
    return found


def _only(layers: tuple[Blob, ...], media_type: str, reference: Reference) -> Blob | None:
    found = [layer for layer in layers if layer.media_type == media_type]
    if len(found) > 1:
        raise _malformed(reference, f"has {len(found)} layers of the type {media_type}, where one is allowed")
    return found[0] if found else None


def _requirements(annotations: dict[str, str], plane: Plane, reference: Reference) -> tuple[Requirement, ...]:
    document = parsed(annotations.get(REQUIRES, "{}").encode(), f"the annotation {REQUIRES} of {reference}")
    try:
        return requirements(document, plane)
    except ValueError as error:
        raise _malformed(reference, f"has a wrong annotation {REQUIRES}: {error}") from error


def requirements(ranges: Json, plane: Plane) -> tuple[Requirement, ...]:
    """Read what a release of one plane requires of the others, from a mapping of planes to ranges.

    Raises:
        ValueError: a name is no plane, a plane requires itself, or a text is not a range.
    """
    found = []
    for name, text in sorted(ranges.items()):
        if name not in set(Plane) or name == plane:
            msg = f"{name!r} is none of the other planes, {', '.join(other for other in Plane if other is not plane)}"
            raise ValueError(msg)
        if not isinstance(text, str):
            msg = f"the range of {name} is not a text"
            raise ValueError(msg)  # noqa: TRY004  every wrong requirement is the same kind of error to the caller
        found.append(Requirement(Plane(name), VersionRange.parse(text)))
    return tuple(found)


def _needs(annotations: dict[str, str], reference: Reference) -> Needs:
    try:
        return Needs(
            chips=tuple(chip.strip() for chip in annotations.get(NPU_TARGETS, "").split(",") if chip.strip()),
            driver=_least(annotations, LEAST_DRIVER),
            runtime=_least(annotations, LEAST_RUNTIME),
            form=annotations.get(FORM),
        )
    except ValueError as error:
        raise _malformed(reference, f"says wrongly what it needs: {error}") from error


def _least(annotations: dict[str, str], name: str) -> Version | None:
    text = annotations.get(name)
    return None if text is None else Version.parse(text)


def _served(annotations: dict[str, str], reference: Reference) -> ServedAs | None:
    try:
        return None if (text := annotations.get(SERVED_AS)) is None else ServedAs.parse(text)
    except ValueError as error:
        raise _malformed(reference, f"has a wrong annotation {SERVED_AS}: {error}") from error


def _release_number(annotations: dict[str, str], reference: Reference) -> int | None:
    if (text := annotations.get(RELEASE_NUMBER)) is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise _malformed(reference, f"has the annotation {RELEASE_NUMBER}={text!r}, which is not a whole number")
    return int(text)
