"""What is stopped, and how it is lifted."""

from datetime import timedelta

from tests.web.conftest import served, visiting
from tests.web.stage import Stage, digest, rfc3339


async def test_hold_tells_whom_it_stops_and_until_when() -> None:
    stage = Stage()
    now = stage.clock.now()
    devices = [f"cam-{number}" for number in range(7)]
    stage.hold("acme", "by-name", reason="r1", scope={"devices": devices}, until=rfc3339(now + timedelta(hours=1)))
    stage.hold("acme", "by-group", reason="r2", scope={"groups": ["doors"]}, inFlight="Return")
    expression = {"key": "site", "operator": "In", "values": ["a", "b"]}
    stage.hold("acme", "by-label", reason="r3", scope={"selector": {"matchExpressions": [expression]}})
    stage.hold("acme", "by-version", reason="r4", versions=[{"plane": "model", "digest": digest("x")}])
    stage.hold("acme", "over", reason="r5", scope={"selector": {}}, until=rfc3339(now - timedelta(hours=1)))
    async with served(stage) as site, visiting(site, "ada") as visitor:
        _, text = await visitor.sees("/acme/holds")
    for words in (
        "device cam-0, cam-1, cam-2, cam-3, cam-4 and 2 more",
        "group doors",
        "goes back",
        "site In (a, b)",
        digest("x").removeprefix("sha256:")[:12],
        "somebody lifts it",
        "backstay lift by-name -n acme",
    ):
        assert words in text
    assert "backstay lift over" not in text
    assert text.index("by-name") < text.index("over")


async def test_hold_that_cannot_be_read_says_that_it_stops_everything() -> None:
    stage = Stage()
    stage.hold("acme", "odd", reason="r", surprise=True)
    async with served(stage) as site, visiting(site, "ada") as visitor:
        _, text = await visitor.sees("/acme/holds")
    assert "it cannot be read, so it stops everything" in text
