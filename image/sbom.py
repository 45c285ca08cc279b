"""What an image is made of, as a CycloneDX document."""

import json
import uuid
from typing import Any, Final
from urllib.parse import quote

from image.architectures import Architecture
from image.layers import Component

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"
NAMESPACE: Final = uuid.UUID("5e5b0a4c-6a0e-5f0a-8f6b-0c7f6f2d9a11")


def bill_of_materials(
    name: str, version: str, manifest_digest: str, components: tuple[Component, ...], architecture: Architecture
) -> bytes:
    """The document for the image of that digest; the same image always has the same one.

    Source: https://cyclonedx.org/docs/1.6/json/, https://github.com/package-url/purl-spec
    """
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, manifest_digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": "image",
                "name": name,
                "version": version,
                "hashes": [{"alg": "SHA-256", "content": manifest_digest.removeprefix("sha256:")}],
            }
        },
        "components": [_listed(component, architecture) for component in components],
    }
    return json.dumps(document, indent=1).encode()


def _listed(component: Component, architecture: Architecture) -> dict[str, Any]:
    url = _package_url(component, architecture)
    licenses = {"licenses": [{"expression": component.license}]} if component.license else {}
    return {
        "type": "library",
        "bom-ref": url,
        "name": component.name,
        "version": component.version,
        "purl": url,
        **licenses,
    }


def _package_url(component: Component, architecture: Architecture) -> str:
    version = quote(component.version, safe="")
    if component.source == "deb":
        return f"pkg:deb/debian/{quote(component.name)}@{version}?arch={architecture.name}&distro=debian-12"
    return f"pkg:pypi/{component.name.lower().replace('_', '-')}@{version}"
