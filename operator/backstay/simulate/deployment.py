"""A deployment as the bridge sends it, parsed into the order that the device carries out.

Source: https://eclipse.dev/hawkbit/rest-api/ddi/ (getControllerDeploymentBaseAction), with our `backstay` extension.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from backstay.core.device import Order, Probe
from backstay.core.device_record import probe_ordered, requirements
from backstay.core.devices import StepType
from backstay.core.planes import ContentDigest, Plane
from backstay.core.quantities import fraction_of, seconds_of
from backstay.errors import Refused
from backstay.simulate.probes import BUILT_IN

_PROBES_MAX: Final = 32
_NUMBER_MAX: Final = 2**53


class BadDeployment(Refused):
    """The bridge sent something that is no deployment."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """An order, until when it may begin, and where its bytes are."""

    order: Order
    expires: datetime | None
    href: str | None
    """None where the bridge expects the device to have the bytes already."""
    size: int

    def expired(self, now: datetime) -> bool:
        """Tell whether it is too late to begin."""
        return self.expires is not None and now >= self.expires


def parse_deployment(body: Mapping[str, Any]) -> Deployment:
    """Read a deployment; what the device does not know, it ignores.

    Raises:
        BadDeployment: something that the device needs is missing or wrong; says what.
    """
    try:
        extension, chunk = body["backstay"], body["deployment"]["chunks"][0]
        artifact = chunk["artifacts"][0]
        links = artifact.get("_links", {})
        link = links.get("download-http") or links.get("download")
        expires = extension.get("expires")
        return Deployment(
            order=_order(int(body["id"]), extension, str(chunk["version"])),
            expires=datetime.fromisoformat(expires).astimezone(UTC) if expires else None,
            href=str(link["href"]) if link else None,
            size=int(artifact.get("size", 0)),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise BadDeployment(f"the deployment lacks or misstates something: {error!r}") from error


def _order(number: int, extension: Mapping[str, Any], version: str) -> Order:
    if not 1 <= number <= _NUMBER_MAX:
        message = f"step {number}, not 1 to 2^53"
        raise ValueError(message)
    content = str(extension["content"])
    if len(bytes.fromhex(content.removeprefix("sha256:"))) != 32:  # noqa: PLR2004
        raise ValueError(content)
    probes = tuple(_probe(probe) for probe in extension.get("probes") or ())
    if len(probes) > _PROBES_MAX:
        message = f"{len(probes)} probes, at most {_PROBES_MAX}"
        raise ValueError(message)
    return Order(
        number=number,
        plane=Plane(extension["plane"]),
        type=StepType(extension["type"]),
        content=ContentDigest(content),
        version=version,
        probes=probes or BUILT_IN,
        window=timedelta(seconds=seconds_of(str(extension["window"]))),
        requires=requirements(extension.get("requires") or {}),
    )


def _probe(found: Mapping[str, Any]) -> Probe:
    probe = probe_ordered(found)
    if agreement := probe.setting("minAgreement"):
        fraction_of(agreement)
    if latency := probe.setting("maxLatency"):
        seconds_of(latency)
    return probe
