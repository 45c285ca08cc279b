"""Manifests for tests, right ones and, by what is changed in them, wrong ones."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from backstay.adapters.oci.media_types import (
    DEVICE_CLASS,
    JSON_SCHEMA,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    PLANE,
    PLANE_TYPES,
    REQUIRES,
    SAMPLES,
    VERSION,
)
from backstay.core.planes import ContentDigest, Plane
from backstay.ports.registry import Blob

Json = dict[str, Any]

EMPTY = b"{}"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob_of(data: bytes, media_type: str = "application/octet-stream") -> Blob:
    return Blob(ContentDigest(digest_of(data)), len(data), media_type)


def descriptor(data: bytes, media_type: str) -> Json:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


@dataclass(frozen=True, slots=True)
class Sample:
    """A small artifact: its blobs, and the manifest that names them."""

    payload: bytes = b"\x01weights" * 16
    plane: Plane = Plane.MODEL
    version: str = "1.2.0"
    device_class: str = "esp32"
    requires: dict[str, str] = field(default_factory=dict)
    schema: bytes | None = None
    samples: bytes | None = None
    annotations: dict[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[bytes, ...]:
        return (EMPTY, self.payload, *(data for data in (self.schema, self.samples) if data is not None))

    @property
    def document(self) -> Json:
        layers = [descriptor(self.payload, PLANE_TYPES[self.plane].payload)]
        if self.schema is not None:
            layers.append(descriptor(self.schema, JSON_SCHEMA))
        if self.samples is not None:
            layers.append(descriptor(self.samples, SAMPLES))
        return {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": PLANE_TYPES[self.plane].artifact,
            "config": descriptor(EMPTY, OCI_EMPTY),
            "layers": layers,
            "annotations": {
                PLANE: str(self.plane),
                VERSION: self.version,
                DEVICE_CLASS: self.device_class,
                REQUIRES: json.dumps(self.requires),
                **self.annotations,
            },
        }

    @property
    def manifest(self) -> bytes:
        return json.dumps(self.document).encode()


def index_of(*samples: Sample) -> bytes:
    """An index that lists the samples by their classes."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                descriptor(sample.manifest, OCI_MANIFEST) | {"annotations": {DEVICE_CLASS: sample.device_class}}
                for sample in samples
            ],
        }
    ).encode()
