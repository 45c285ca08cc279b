"""Who is in the fleet: cameras of three customers in two regions, and a few in the vendor's own laboratory."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice, product
from typing import Any, Final

NAMESPACE: Final = "acme"
REGIONS: Final = ("eu", "us")
CUSTOMERS: Final = ("acme-retail", "borealis", "cedar")
SITES: Final = {"eu": "rotterdam", "us": "memphis"}
SIZE: Final = 60
LABORATORY: Final = 3

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Camera:
    """One device; those of the laboratory belong to no customer."""

    name: str
    region: str
    customer: str = ""

    @property
    def is_in_laboratory(self) -> bool:
        """Whether it looks at the laboratory's test card, and gets every release first."""
        return not self.customer

    @property
    def gateway(self) -> str:
        """The gateway that serves it."""
        return f"gw-{self.region}"

    @property
    def labels(self) -> dict[str, str]:
        """What selectors see of it."""
        whose = {"customer": self.customer, "site": SITES[self.region]} if self.customer else _LABORATORY_LABELS
        return {"app": "digit-camera", "region": self.region, **whose}

    def document(self) -> Json:
        """The EdgeDevice."""
        return {
            "apiVersion": "backstay.dev/v1alpha1",
            "kind": "EdgeDevice",
            "metadata": {"name": self.name, "namespace": NAMESPACE, "labels": self.labels},
            "spec": {"class": "esp32", "gateway": self.gateway},
        }


_LABORATORY_LABELS: Final = {"audience": "internal", "site": "laboratory", "backstay.dev/may-break": "true"}


def cameras(size: int = SIZE) -> tuple[Camera, ...]:
    """The fleet: the laboratory's cameras, then the customers' in turn, half of them in each region."""
    laboratory = [Camera(f"lab-{number}", REGIONS[number % 2]) for number in range(1, LABORATORY + 1)]
    return (*laboratory, *islice(_customers_cameras(), size - LABORATORY))


def _customers_cameras() -> Iterator[Camera]:
    for number in count(1):
        for customer, region in product(CUSTOMERS, REGIONS):
            yield Camera(f"{customer}-{region}-{number:02}", region, customer)
