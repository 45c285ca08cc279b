"""What Prometheus reads."""

from prometheus_client.parser import text_string_to_metric_families

from tests.bridge.conftest import CONTENT, OLD


async def series(world):
    async with world.client.get("/metrics") as response:
        assert response.status == 200
        text = await response.text()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def only(samples, name, **labels):
    found = [one for one in samples if one.name == name and labels.items() <= one.labels.items()]
    assert len(found) == 1, found
    return found[0]


async def test_info_takes_its_labels_from_the_edgedevice_when_a_device_says_otherwise(world):
    world.order()
    await world.health(CONTENT)
    await world.bridge.publisher._sweep()
    found = only(await series(world), "backstay_device_info")
    assert found.value == 1
    assert found.labels == {
        "namespace": "acme",
        "device": "cam-1",
        "customer": "acme",
        "region": "",
        "site": "",
        "class": "esp32",
        "plan": "vision",
        "revision": "3f9c2a1b-2",
        "ring": "canary",
        "firmware": "",
        "model": "7.2.0",
        "config": "",
    }


async def test_version_is_unknown_when_only_the_device_has_a_name_for_its_bytes(world):
    await world.health(OLD)
    await world.bridge.publisher._sweep()
    assert only(await series(world), "backstay_device_info").labels["model"] == "unknown"


async def test_device_has_one_series_for_each_plan_when_its_planes_are_at_different_revisions(world):
    config = {
        "plan": "vision",
        "revision": "bbbbbbbb-10",
        "ring": "internal",
        "version": "1.0.0",
        "artifact": f"127.0.0.1:5000/vision/config@sha256:{'b' * 64}",
        "content": OLD,
    }
    world.order(config=config, firmware=config | {"plan": "base", "revision": "cccccccc-1"})
    found = await series(world)
    assert only(found, "backstay_device_info", plan="vision").labels["revision"] == "3f9c2a1b-2", "the step's own"
    assert only(found, "backstay_device_info", plan="base").labels["ring"] == "internal"


async def test_label_is_escaped_when_a_person_wrote_quotes(world):
    item = world.device()
    item["metadata"]["labels"]["site"] = 'hall "1" \\ \n'
    world.device()
    assert only(await series(world), "backstay_device_info").labels["site"] == 'hall "1" \\ \n'


async def test_figures_disappear_when_a_device_falls_silent(world):
    figures = {"inference_accuracy": 0.5, "heap_free_bytes": 1000, "temperature_celsius": -3.5}
    await world.health(OLD, resources=figures, probes=[{"name": "camera", "passed": False}], log=["ready"])
    found = await series(world)
    labels = {"namespace": "acme", "device": "cam-1"}
    for name, value in (*figures.items(), ("probes_failing", 1), ("device_reachable", 1)):
        assert only(found, f"backstay_{name}", **labels).value == value
    told = only(found, "backstay_last_report_timestamp_seconds").value
    assert told == world.time.now().timestamp()
    assert only(found, "backstay_last_log_timestamp_seconds").value == told
    world.time.seconds += 6
    found = await series(world)
    assert {one.name for one in found if one.labels.get("device")} == {
        "backstay_device_info",
        "backstay_device_reachable",
        "backstay_last_report_timestamp_seconds",
        "backstay_last_log_timestamp_seconds",
    }
    assert only(found, "backstay_device_reachable").value == 0
    assert only(found, "backstay_last_report_timestamp_seconds").value == told


async def test_every_series_stands_in_the_reference_when_it_is_served(world):
    await world.health(OLD, resources={"inference_latency_seconds": 0.1, "inference_accuracy": 1.0}, log=["x"])
    world.order()
    await world.offered()
    await world.feedback(1, "proceeding")
    await world.hold({"scope": {"selector": {}}})
    reference = (world.root / "docs/reference/metrics.md").read_text(encoding="utf-8")
    names = {one.name for one in await series(world) if not one.name.endswith("_created")}
    assert {name for name in names if f"`{name}`" not in reference} == set()
