"""What a node fetches, and what it refuses before a byte of it."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backstay.adapters.node.probes.samples import LARGEST_BYTES
from backstay.adapters.oci.cache import BlobCache
from backstay.agent.fetching import Fetched, Fetching
from backstay.core.device import Cause, Order, Reason
from backstay.core.needs import Equipment
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription
from backstay.ports.verify import NotConfigured, Verdict
from tests.agent.bench import order
from tests.contracts.artifacts import Sample
from tests.contracts.fake_registry import FakeRegistry

GOLDEN = b'{"samples": [{"inputs": [], "outputs": []}]}'
HAS = Equipment(frozenset({"rk3566"}), driver="0.9.6", runtime="2.3.0", form="pod")


class Clock:
    """The machine's own."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class Trusting:
    """A node without keys."""

    async def verify(self, _: ArtifactDescription) -> Verdict:
        return NotConfigured()


async def agreed(_: Order, __: ArtifactDescription) -> None:
    return None


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


async def fetched(registry: FakeRegistry, directory: Path, sample: Sample) -> Fetched | Cause:
    cache = BlobCache(directory, registry)
    fetching = Fetching(registry, cache, Trusting(), "rk3566", Clock(), lambda: HAS)
    wanted = order(1, sample.payload, sample.plane)
    return await fetching.fetch(wanted, registry.add(sample), agreed)


async def test_samples_and_schema_come_with_the_payload(registry: FakeRegistry, tmp_path: Path) -> None:
    model = await fetched(registry, tmp_path, Sample(device_class="rk3566", samples=GOLDEN))
    assert isinstance(model, Fetched)
    assert model.beside.samples is not None
    assert (model.beside.samples.read_bytes(), model.beside.schema) == (GOLDEN, None)
    config = await fetched(
        registry, tmp_path, Sample(b"{}", Plane.CONFIG, device_class="rk3566", schema=b'{"type": "object"}')
    )
    assert isinstance(config, Fetched)
    assert config.beside.schema is not None
    assert config.beside.schema.read_bytes() == b'{"type": "object"}'


async def test_altered_samples_are_refused_by_name(registry: FakeRegistry, tmp_path: Path) -> None:
    sample = Sample(device_class="rk3566", samples=GOLDEN)
    registry.add(sample)
    described = await registry.resolve(registry.add(sample), "rk3566")
    assert described.samples is not None
    fetching = Fetching(registry, BlobCache(tmp_path, registry), Trusting(), "rk3566", Clock())
    registry.alter(described.samples.digest, GOLDEN.replace(b"inputs", b"outputs"[:6]))
    found = await fetching.fetch(order(1, sample.payload), str(described.reference), agreed)
    assert isinstance(found, Cause)
    assert found.reason is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        ("npu-targets", "rk3588", "it is compiled for rk3588, and this device is rk3566"),
        ("min-runtime", "2.3.1", "it needs inference runtime 2.3.1 or newer, and this device has 2.3.0"),
        ("min-driver", "0.9.8", "it needs NPU driver 0.9.8 or newer, and this device has 0.9.6"),
    ],
)
async def test_artifact_is_refused_before_a_byte_when_the_node_lacks_what_it_needs(
    registry: FakeRegistry, tmp_path: Path, annotation: str, value: str, said: str
) -> None:
    sample = Sample(device_class="rk3566", annotations={f"dev.backstay.{annotation}": value})
    assert await fetched(registry, tmp_path, sample) == Cause(Reason.INCOMPATIBLE, said)
    assert registry.opened == []


async def test_system_image_is_refused_before_a_byte_when_the_node_has_no_second_slot(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    sample = Sample(plane=Plane.FIRMWARE, device_class="rk3566", annotations={"dev.backstay.form": "system"})
    found = await fetched(registry, tmp_path, sample)
    assert isinstance(found, Cause)
    assert str(found).startswith("Incompatible: it is a system and so needs a second slot")
    assert registry.opened == []


async def test_artifact_is_fetched_when_the_node_has_just_what_it_needs(registry: FakeRegistry, tmp_path: Path) -> None:
    annotations = {"npu-targets": "rk3568,rk3566", "min-runtime": "2.3.0", "min-driver": "0.9.6"}
    named = {f"dev.backstay.{name}": value for name, value in annotations.items()}
    assert isinstance(await fetched(registry, tmp_path, Sample(device_class="rk3566", annotations=named)), Fetched)


async def test_samples_are_refused_before_a_byte_when_they_are_too_large(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    sample = Sample(device_class="rk3566", samples=bytes(LARGEST_BYTES + 1))
    said = "golden samples: 4194305 bytes, at most 4194304 are taken"
    assert await fetched(registry, tmp_path, sample) == Cause(Reason.REJECTED, said)
    assert registry.opened == []
