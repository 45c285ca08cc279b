"""The media types and annotations of Backstay's artifacts.

Source: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md (artifact usage),
https://github.com/modelpack/model-spec/blob/v0.0.7/docs/spec.md (models)
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from backstay.core.planes import Plane

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
JSON_SCHEMA: Final = "application/schema+json"
SAMPLES: Final = "application/vnd.backstay.samples.v1+json"
"""Golden samples, beside the weights of a model."""

PLANE: Final = "dev.backstay.plane"
VERSION: Final = "dev.backstay.version"
DEVICE_CLASS: Final = "dev.backstay.class"
REQUIRES: Final = "dev.backstay.requires"
RELEASE_NUMBER: Final = "dev.backstay.release-number"
NPU_TARGETS: Final = "dev.backstay.npu-targets"
LEAST_DRIVER: Final = "dev.backstay.min-driver"
LEAST_RUNTIME: Final = "dev.backstay.min-runtime"
FORM: Final = "dev.backstay.form"
SERVED_AS: Final = "dev.backstay.served-as"
OCI_VERSION: Final = "org.opencontainers.image.version"


@dataclass(frozen=True, slots=True)
class PlaneTypes:
    """The media types of one plane's artifacts."""

    artifact: str
    config: str
    payload: str


PLANE_TYPES: Final = MappingProxyType(
    {
        Plane.FIRMWARE: PlaneTypes(
            artifact="application/vnd.backstay.firmware.v1",
            config=OCI_EMPTY,
            payload="application/vnd.backstay.firmware.v1.image",
        ),
        Plane.MODEL: PlaneTypes(
            artifact="application/vnd.cncf.model.manifest.v1+json",
            config="application/vnd.cncf.model.config.v1+json",
            payload="application/vnd.cncf.model.weight.v1.raw",
        ),
        Plane.CONFIG: PlaneTypes(
            artifact="application/vnd.backstay.config.v1",
            config=OCI_EMPTY,
            payload="application/vnd.backstay.config.v1+json",
        ),
    }
)
