"""Everything that the demo releases is in the registry as its story says."""

from pathlib import Path

import aiohttp

from backstay.adapters.node.probes.samples import GoldenSamples
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.core.planes import VersionSet, unmet_requirements
from demo.artifacts import Artifact, make_artifacts
from tests.contracts.docker_registry import docker_registry_in


async def test_make_artifacts_pushes_what_the_story_needs(tmp_path: Path) -> None:
    steps: list[str] = []
    with docker_registry_in(tmp_path) as docker:
        made = await make_artifacts(docker.host, tmp_path / "made", steps.append)
        async with aiohttp.ClientSession() as session:
            registry = OciRegistry(Transport(session))
            described = {each: await registry.resolve(each.reference, each.device_class) for each in made}
    assert len(described) == len({each.content for each in made}) == 14
    assert all(found.content == each.content for each, found in described.items())
    assert any("training" in step for step in steps)
    golden = [GoldenSamples.load(tmp_path / "made" / f"samples-{version}.json") for version in ("3.0.0", "3.1.0")]
    assert golden[0] == golden[1], "what was trained is the same, whatever was exported"
    assert all(described[each].samples is not None for each in (made.box_model, made.box_model_misquantised))

    def unmet(*artifacts: Artifact) -> list[str]:
        return [
            str(each)
            for each in unmet_requirements(VersionSet.of({a.plane: described[a].release() for a in artifacts}))
        ]

    assert not unmet(made.firmware_factory, made.model_factory, made.config_factory)
    assert not unmet(made.firmware_first, made.model_first, made.config_first)
    assert not unmet(made.firmware_first, made.model_misquantised, made.config_first)
    assert not unmet(made.firmware_hanging, made.model_better, made.config_next)
    assert unmet(made.firmware_factory, made.model_first)
    assert unmet(made.firmware_first, made.model_better, made.config_needing_unknown_model) == [
        "config 2.0.0 requires model >=9.0.0, but the device has 1.1.0"
    ]
