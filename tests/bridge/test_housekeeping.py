"""What leaves the bridge's cache, and what never does."""

from pathlib import Path

from tests.bridge.conftest import CONTENT, World


def cached(directory: Path) -> list[Path]:
    return [path for path in (directory / "cache" / "sha256").iterdir() if not path.suffix]


async def test_content_stays_while_a_device_is_ordered_runs_or_keeps_it(world: World, tmp_path: Path) -> None:
    world.bridge.housekeeping._limit_bytes = 0
    world.order()
    await world.offered()
    await world.bridge.housekeeping.trim()
    assert len(cached(tmp_path)) == 1, "it is ordered"
    assert await world.feedback(1, "proceeding") == 200
    await world.health(CONTENT)
    assert await world.feedback(1, "closed", "success") == 200
    await world.bridge.publisher._sweep()
    world.device(desired={})
    await world.bridge.housekeeping.trim()
    assert len(cached(tmp_path)) == 1, "it runs"


async def test_content_that_nobody_needs_leaves_and_is_fetched_again_when_it_is_ordered_again(
    world: World, tmp_path: Path
) -> None:
    world.bridge.housekeeping._limit_bytes = 0
    world.order()
    await world.offered()
    world.device(desired={})
    await world.bridge.housekeeping.trim()
    assert cached(tmp_path) == []
    world.order(2)
    assert await world.offered() == "/deploymentBase/2"
    assert len(cached(tmp_path)) == 1
