"""Devices at the bridge's paths: the story of a step, and everything that can go wrong with it."""

import asyncio
import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from backstay.bridge.tokens import gateway_token, target_token
from backstay.core.planes import Plane
from backstay.ports.verify import NotConfigured, Unverified, UnverifiedReason
from tests.bridge.conftest import BYTES, CONTENT, KEY, OLD

ELSEWHERE = "/acme/controller/v1"


async def begun(world, number=1):
    await world.health(OLD)
    world.order(number)
    assert await world.offered() == f"/deploymentBase/{number}"
    assert await world.feedback(number, "proceeding") == 200


async def test_poll_answers_304_when_nothing_changed(world):
    first = await world.ask("GET", "")
    etag = first.headers["ETag"]
    assert (await first.json())["config"]["polling"]["sleep"] == "00:00:01"
    assert (await world.ask("GET", "", headers={"If-None-Match": etag})).status == 304
    world.order()
    await world.offered()
    assert (await world.ask("GET", "", headers={"If-None-Match": etag})).status == 200


async def test_deployment_carries_all_that_a_device_needs_when_it_is_offered(world):
    world.order(7)
    response = await world.ask("GET", await world.offered())
    found = await response.json()
    chunk = found["deployment"]["chunks"][0]
    artifact = chunk["artifacts"][0]
    assert (found["id"], chunk["part"], chunk["version"], artifact["size"]) == ("7", "model", "7.2.0", len(BYTES))
    assert artifact["hashes"] == {
        "sha1": hashlib.sha1(BYTES).hexdigest(),
        "md5": hashlib.md5(BYTES).hexdigest(),
        "sha256": CONTENT.removeprefix("sha256:"),
    }
    assert found["backstay"]["type"] == "Install"
    assert found["backstay"]["window"] == "2m"
    assert found["backstay"]["probes"] == [{"name": "inference", "kind": "InferenceAlive"}]


async def test_deployment_carries_the_plans_ranges_when_the_order_says_them(world):
    world.order(7)
    desired = world.device()["spec"]["desired"]
    ranged = {**desired["model"], "requires": {"firmware": ">=1.0.0,>=1.2.0"}}
    world.order(8, model=ranged)
    found = await (await world.ask("GET", await world.offered())).json()
    assert found["backstay"]["requires"] == {"firmware": ">=1.0.0,>=1.2.0"}


async def test_step_costs_two_status_writes_when_it_goes_well(world):
    await begun(world)
    assert world.model()["state"] == "Downloading"
    for execution in ("download", "downloaded", "proceeding"):
        assert await world.feedback(1, execution) == 200
    await world.health(CONTENT)
    assert await world.feedback(1, "closed", "success") == 200
    assert await world.feedback(1, "closed", "success") == 200
    assert await world.feedback(1, "closed", "failure") == 200, "said again in other words"
    assert len(world.api.writes) == 2
    model = world.model()
    assert (model["state"], model["step"], model["running"]) == ("Confirmed", 1, CONTENT)
    assert model["version"] == "7.2.0"
    assert await world.offered() is None


async def test_success_is_a_failure_when_the_device_reports_other_bytes(world):
    await begun(world)
    assert await world.feedback(1, "closed", "success") == 200
    assert world.model()["state"] == "Failed"
    assert world.model()["reason"].startswith("DigestMismatch")


async def test_stock_client_ends_unverified_when_it_never_reports_health(world):
    world.order()
    await world.offered()
    assert await world.feedback(1, "proceeding") == 200
    assert await world.feedback(1, "closed", "success") == 200
    assert world.model()["state"] == "InstalledUnverified"
    ready = next(found for found in world.status()["conditions"] if found["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Unverified")


async def test_answer_stands_and_is_written_once_when_the_api_server_is_away(world):
    await begun(world)
    await world.health(CONTENT)
    world.api.up = False
    assert await world.feedback(1, "closed", "success") == 200
    assert await world.feedback(1, "closed", "success") == 200, "to say it again changes nothing"
    assert "deploymentBase" not in await world.links()
    writes = len(world.api.writes)
    world.api.up = True
    world.time.seconds += 5
    await world.bridge.publisher._sweep()
    await world.bridge.publisher._sweep()
    assert world.model()["state"] == "Confirmed"
    assert len(world.api.writes) == writes + 1
    assert world.bridge.journal.all() == []


async def test_device_is_told_gone_when_its_object_was_replaced(world):
    world.order()
    await world.offered()
    world.api.objects["edgedevices"]["cam-1"]["metadata"]["uid"] = "another"
    assert await world.feedback(1, "proceeding") == 410


async def test_answer_is_never_written_of_another_object_of_the_same_name(world):
    await begun(world)
    world.api.objects["edgedevices"]["cam-1"]["metadata"]["uid"] = "another"
    assert await world.feedback(1, "closed", "failure", "NoSpace") == 200
    assert world.model()["state"] == "Downloading"


async def test_nothing_is_offered_when_a_hold_stands(world):
    world.order()
    assert await world.offered()
    await world.hold({"scope": {"devices": ["cam-1"]}})
    assert await world.offered() is None
    assert (await world.ask("GET", "/deploymentBase/1")).status == 404
    assert await world.feedback(1, "proceeding") == 410
    assert (await world.ask("GET", "/softwaremodules/model/artifacts/model-7.2.0.bin")).status == 404
    await world.hold(None)
    assert await world.offered()


async def test_hold_by_group_stops_its_members_when_labels_match(world):
    world.order()
    envelope = {"apiVersion": "backstay.dev/v1alpha1", "kind": "DeviceGroup", "metadata": {"name": "ours"}}
    world.api.put("devicegroups", envelope | {"spec": {"selector": {"matchLabels": {"customer": "acme"}}}})
    await world.hold({"scope": {"groups": ["theirs"]}})
    assert await world.offered()
    await world.hold({"scope": {"groups": ["ours"]}})
    assert await world.offered() is None


async def test_begun_step_goes_on_when_a_hold_comes(world):
    await begun(world)
    await world.hold({"scope": {"selector": {}}})
    assert await world.offered()
    world.api.up = False
    world.time.seconds += 3600
    assert await world.offered(), "nor does an old view or its expiry stop it"


async def test_nothing_new_starts_when_the_view_is_older_than_a_minute(world):
    world.order(expires="2026-02-01T00:00:00Z")
    assert await world.offered()
    world.api.up = False
    world.time.seconds += 59
    assert await world.offered()
    world.time.seconds += 2
    assert await world.offered() is None
    assert await world.feedback(1, "proceeding") == 503


async def test_order_is_dropped_when_it_has_expired(world):
    world.order()
    assert await world.offered()
    world.time.seconds += 600
    await world.bridge.orders.read()
    assert await world.offered() is None
    assert await world.feedback(1, "proceeding") == 410


async def test_order_is_dropped_when_it_was_withdrawn(world):
    world.order()
    assert await world.offered()
    desired = world.api.objects["edgedevices"]["cam-1"]["spec"]["desired"]
    world.device(desired=desired | {"step": desired["step"] | {"withdrawn": True}})
    assert await world.offered() is None
    assert await world.feedback(1, "proceeding") == 410


async def test_return_is_offered_without_the_registry_when_the_device_holds_the_bytes(world):
    world.shelf.open = False
    await world.health(OLD)
    await world.hold({"scope": {"selector": {}}})
    world.order(1, "Return", model={"content": OLD})
    await world.bridge.publisher._sweep()
    link = await world.offered()
    assert link == "/deploymentBase/1", "neither hold nor registry stops it"
    artifact = (await (await world.ask("GET", link)).json())["deployment"]["chunks"][0]["artifacts"][0]
    assert artifact["hashes"] == {"sha256": OLD.removeprefix("sha256:")}


async def test_return_is_offered_when_only_the_device_has_the_bytes(world):
    await world.health(CONTENT)
    await world.bridge.publisher._sweep()
    world.order(1, "Return", model={"content": OLD, "artifact": None})
    assert await world.offered()
    assert world.shelf.asked == 0


async def test_nothing_is_offered_until_the_registry_answers_when_it_was_down(world):
    world.shelf.open = False
    world.order()
    assert await world.offered() is None
    asked = world.shelf.asked
    assert await world.offered() is None
    assert world.shelf.asked == asked, "not again before its time"
    world.shelf.open = True
    world.time.seconds += 2
    assert await world.offered()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"verdict": Unverified(UnverifiedReason.SIGNATURE_NOT_FOUND, "nobody signed it")}, "nobody signed it"),
        ({"plane": Plane.CONFIG}, "it holds config"),
    ],
)
async def test_step_fails_unbegun_when_its_artifact_must_not_be_installed(world, change, words):
    for name, value in change.items():
        setattr(world.shelf, name, value)
    world.order()
    assert await world.offered() is None
    model = world.model()
    assert (model["state"], model["step"]) == ("Failed", 1)
    assert model["reason"].startswith("Rejected: ")
    assert words in model["reason"]


async def test_rejected_artifact_is_judged_anew_when_it_was_signed_since(world):
    world.shelf.verdict = Unverified(UnverifiedReason.SIGNATURE_NOT_FOUND, "nobody signed it")
    world.order(1)
    assert await world.offered() is None
    world.shelf.verdict = NotConfigured()
    world.order(2)
    assert await world.offered() is None
    assert (world.model()["state"], world.model()["step"], world.shelf.asked) == ("Failed", 2, 1)
    world.time.seconds += 30
    world.order(3)
    assert await world.offered() == "/deploymentBase/3"


async def test_replaced_step_is_given_up_before_the_next_one_is_offered(world):
    await begun(world, 1)
    world.order(2)
    assert await world.links() == {
        "health": "/health",
        "configData": "/configData",
        "cancelAction": "/cancelAction/1",
    }
    assert (await (await world.ask("GET", "/cancelAction/1")).json())["cancelAction"]["stopId"] == "1"
    assert (await world.ask("GET", "/deploymentBase/1")).status == 410
    body = {"id": "1", "status": {"execution": "closed", "result": {"finished": "success"}}}
    assert (await world.ask("POST", "/cancelAction/1/feedback", json=body)).status == 200
    assert (await world.ask("POST", "/cancelAction/1/feedback", json=body)).status == 200, "said again"
    assert (world.model()["state"], world.model()["reason"]) == ("Failed", "Canceled")
    assert await world.offered() == "/deploymentBase/2"


async def test_replaced_step_can_still_be_answered_when_the_device_was_faster(world):
    await world.health(OLD)
    world.order(1)
    await world.ask("GET", await world.offered())
    assert await world.feedback(1, "proceeding") == 200
    world.order(2, model={"content": OLD})
    await world.health(CONTENT)
    assert await world.feedback(1, "closed", "success") == 200
    assert (world.model()["state"], world.model()["step"]) == ("Confirmed", 1)


async def test_replaced_step_goes_on_when_the_device_refuses_to_give_it_up(world):
    await begun(world, 1)
    world.order(2)
    body = {"status": {"execution": "rejected", "result": {"finished": "failure"}}}
    assert (await world.ask("POST", "/cancelAction/1/feedback", json=body)).status == 200
    assert world.model()["state"] == "Downloading"


@pytest.mark.parametrize(("number", "status"), [("1", 410), ("2", 404), ("x", 404), ("0", 404), ("-1", 404)])
async def test_action_is_gone_or_unknown_when_it_is_not_the_present_one(world, number, status):
    await begun(world, 1)
    await world.feedback(1, "closed", "failure", "NoSpace")
    body = {"status": {"execution": "closed", "result": {"finished": "success"}}}
    assert (await world.ask("GET", f"/deploymentBase/{number}")).status == status
    if number != "1":
        assert (await world.ask("POST", f"/deploymentBase/{number}/feedback", json=body)).status == status
    assert (await world.ask("GET", f"/cancelAction/{number}")).status == 404


async def test_artifact_is_sent_whole_or_in_part_when_the_step_is_open(world):
    world.order()
    await world.offered()
    path = "/softwaremodules/model/artifacts/model-7.2.0.bin"
    whole = await world.ask("GET", path)
    assert (whole.status, await whole.read()) == (200, BYTES)
    assert whole.headers["ETag"] == f'"{CONTENT}"'
    head = await world.ask("HEAD", path)
    assert (head.status, head.headers["Content-Length"], await head.read()) == (200, str(len(BYTES)), b"")
    part = await world.ask("GET", path, headers={"Range": "bytes=10-19", "If-Range": f'"{CONTENT}"'})
    assert (part.status, await part.read()) == (206, BYTES[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(BYTES)}"
    end = await world.ask("GET", path, headers={"Range": f"bytes={len(BYTES) - 5}-99999999"})
    assert (end.status, await end.read()) == (206, BYTES[-5:])
    behind = await world.ask("GET", path, headers={"Range": f"bytes={len(BYTES)}-"})
    assert (behind.status, behind.headers["Content-Range"]) == (416, f"bytes */{len(BYTES)}")
    changed = await world.ask("GET", path, headers={"Range": "bytes=10-19", "If-Range": '"sha256:other"'})
    assert (changed.status, await changed.read()) == (200, BYTES)
    md5 = await world.ask("GET", f"{path}.MD5SUM")
    assert (await md5.text()).split() == [hashlib.md5(BYTES).hexdigest(), "model-7.2.0.bin"]


async def test_artifact_is_fetched_again_when_the_file_was_altered_on_disk(world, tmp_path):
    world.order()
    await world.offered()
    file = next(path for path in tmp_path.rglob("*") if path.is_file())
    file.write_bytes(b"x" * len(BYTES))
    path = "/softwaremodules/model/artifacts/model-7.2.0.bin"
    world.shelf.open = False
    assert (await world.ask("GET", path)).status == 503
    world.shelf.open = True
    assert await (await world.ask("GET", path)).read() == BYTES


@pytest.mark.parametrize(
    "path", ["config/artifacts/model-7.2.0.bin", "model/artifacts/model-7.1.0.bin", "model/artifacts/..%2f..%2fkey"]
)
async def test_artifact_is_not_found_when_it_is_not_of_the_devices_step(world, path):
    world.order()
    await world.offered()
    assert (await world.ask("GET", f"/softwaremodules/{path}")).status == 404
    world.device("cam-2")
    other = "/softwaremodules/model/artifacts/model-7.2.0.bin"
    assert (await world.ask("GET", other, name="cam-2")).status == 404


async def test_attributes_are_asked_for_until_they_were_given(world):
    assert "configData" in await world.links()
    body = {"mode": "merge", "data": {"VIN": "JH4", "hw": "2"}}
    assert (await world.ask("PUT", "/configData", json=body)).status == 200
    assert "configData" not in await world.links()
    assert (await world.ask("PUT", "/configData", json={"mode": "remove", "data": {"hw": ""}})).status == 200
    assert world.bridge.sessions.of("cam-1").attributes == {"VIN": "JH4"}


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("cam-1", {"Authorization": ""}),
        ("cam-1", {"Authorization": "TargetToken "}),
        ("cam-1", {"Authorization": f"TargetToken {target_token(KEY, 'cam-1', 2)}"}),
        ("cam-1", {"Authorization": f"TargetToken {target_token(KEY, 'cam-2', 1)}"}),
        ("cam-1", {"Authorization": f"Bearer {target_token(KEY, 'cam-1', 1)}"}),
        ("cam-1", {"Authorization": f"GatewayToken {gateway_token(KEY, 'gw-us')}"}),
        ("cam-2", {}),
        ("cam-3", {}),
        ("cam-4", {}),
        ("nobody", {}),
    ],
)
async def test_stranger_gets_one_and_the_same_answer_when_anything_is_wrong(world, name, headers):
    world.device("cam-2", gateway="gw-us")
    world.device("cam-3", revoked=True)
    world.device("cam-4", tokenGeneration=2)
    for method, path in (("GET", ""), ("POST", "/health"), ("GET", "/deploymentBase/1"), ("PUT", "/configData")):
        response = await world.ask(method, path, name=name, headers=headers)
        assert response.status == 401
        assert await response.json() == {
            "errorCode": "Unauthorized",
            "message": "no such device here, or not its token",
        }


async def test_stranger_is_turned_away_when_the_tenant_is_another(world):
    headers = {"Authorization": f"TargetToken {target_token(KEY, 'cam-1', 1)}"}
    async with world.client.get("/other/controller/v1/cam-1", headers=headers) as response:
        assert response.status == 401


async def test_gateway_token_lets_in_a_device_of_the_gateway(world):
    token = f"GatewayToken {gateway_token(KEY, 'gw-eu')}"
    assert (await world.ask("GET", "", headers={"Authorization": token})).status == 200


async def test_device_is_turned_away_at_once_when_it_is_revoked_or_moved(world):
    assert (await world.ask("GET", "")).status == 200
    world.device(revoked=True)
    assert (await world.ask("GET", "")).status == 401
    world.device(revoked=False)
    assert (await world.ask("GET", "")).status == 200
    world.device(gateway="gw-us")
    assert (await world.ask("GET", "")).status == 401


@pytest.mark.parametrize("asked", [{"mode": "Safe"}, {"pins": {"model": OLD}}])
async def test_device_keeps_its_connection_and_starts_nothing_when_a_person_sets_it_apart(world, asked):
    world.order()
    assert await world.offered()
    world.device(**asked)
    assert await world.health(OLD) == 200
    assert await world.offered() is None
    assert await world.feedback(1, "proceeding") == 410


@pytest.mark.parametrize("path", ["/health", "/deploymentBase/1/feedback", "/cancelAction/1/feedback", "/configData"])
async def test_body_is_refused_when_it_is_too_large_or_no_json(world, path):
    await begun(world)
    method = "PUT" if path == "/configData" else "POST"
    for body, status in ((b"x" * 70_000, 413), (b"{", 400), (b"", 400), (b"[]", 400), (b"\xff\xfe", 400)):
        response = await world.ask(method, path, data=body)
        assert response.status == status
        found = await response.json()
        assert found["errorCode"]
        assert found["message"]


async def test_bridge_never_answers_500_when_devices_send_anything(world):
    await begun(world)
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    anything = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    )
    loop, asked = asyncio.get_running_loop(), []

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
        st.sampled_from(["", "/health", "/deploymentBase/1", "/deploymentBase/1/feedback", "/cancelAction/1/feedback"])
        | st.sampled_from(["/configData", "/softwaremodules/model/artifacts/model-7.2.0.bin", "/nothing"]),
        anything | st.binary(max_size=30),
        st.dictionaries(
            st.sampled_from(["Range", "If-Range", "If-None-Match", "Content-Type"]),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
        ),
    )
    def collect(method, path, body, headers):
        asked.append((method, path, body, headers))

    await loop.run_in_executor(None, collect)
    for method, path, body, headers in asked:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await world.ask(method, path, data=data, headers=headers)
        assert response.status < 500, (method, path, body, headers)


async def test_reasons_of_the_device_are_kept_when_a_step_fails(world):
    await begun(world)
    assert await world.feedback(1, "closed", "failure", "ProbeFailed: camera", "more") == 200
    assert (world.model()["state"], world.model()["reason"]) == ("RolledBack", "ProbeFailed: camera")


async def test_answer_counts_when_a_stock_client_gives_no_word_before_it(world):
    world.order()
    await world.offered()
    await world.hold({"scope": {"selector": {}}})
    assert await world.feedback(1, "closed", "failure", "NoSpace") == 200, "what has happened is written down"
    assert world.model()["reason"] == "NoSpace"


async def test_hold_is_obeyed_when_the_watch_is_dead(world):
    reading = asyncio.create_task(world.bridge.orders._keep_reading())
    try:
        while not world.bridge.orders.connected:
            await asyncio.sleep(0.01)
        world.order()
        assert await world.offered()
        envelope = {"apiVersion": "backstay.dev/v1alpha1", "kind": "Hold", "metadata": {"name": "stop"}}
        world.api.put("holds", envelope | {"spec": {"scope": {"selector": {}}, "reason": "smoke"}})
        world.time.seconds += 0.6
        assert await world.feedback(1, "proceeding") == 410
        assert await world.offered() is None
    finally:
        reading.cancel()


@pytest.mark.parametrize("host", ["[::", "a b", "", "::::", "x" * 300])
async def test_poll_is_refused_or_answered_when_the_host_is_anything(world, host):
    assert (await world.ask("GET", "", headers={"Host": host})).status in {200, 400}


@pytest.mark.parametrize("name", ["%ff%fe", "..", "%00", "a%2fb", "x" * 5000, "%F0%9F%92%A9", "a%0d%0ab"])
async def test_stranger_is_turned_away_when_its_name_is_anything(world, name):
    path = URL(f"/acme/controller/v1/{name}", encoded=True)
    async with world.client.get(path, headers={"Authorization": "TargetToken x"}) as response:
        assert response.status in {401, 404}


async def test_download_is_asked_to_come_again_when_the_bridge_was_restarted_and_the_registry_is_down(world):
    await begun(world)
    world.bridge.contents._fetches.clear()
    world.shelf.open = False
    path = "/softwaremodules/model/artifacts/model-7.2.0.bin"
    response = await world.ask("GET", path)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    world.shelf.open = True
    world.time.seconds += 2
    assert await world.offered()
    assert await (await world.ask("GET", path)).read() == BYTES


async def test_order_is_not_begun_when_it_is_withdrawn_while_holds_are_read_again(world):
    world.order()
    assert await world.offered()
    desired = world.api.objects["edgedevices"]["cam-1"]["spec"]["desired"]
    world.bridge.orders.connected = True
    world.time.seconds += 1
    first = asyncio.create_task(world.feedback(1, "proceeding"))
    while not world.bridge.orders._bell.is_set():
        await asyncio.sleep(0)
    world.device(desired=desired | {"step": desired["step"] | {"withdrawn": True}})
    assert await first == 410
    assert not world.model()


async def test_device_writes_no_lines_of_its_own_into_the_log_when_its_path_has_line_breaks(world, caplog):
    world.shelf.verdict = Unverified(UnverifiedReason.SIGNATURE_NOT_FOUND, "nobody signed it")
    world.order()
    await world.links()
    for fetch in world.bridge.contents._fetches.values():
        await fetch.task
    world.bridge.journal.close()
    path = URL("/acme/controller/v1/cam-1/softwaremodules/model/artifacts/x%0aERROR%20forged", encoded=True)
    headers = {"Authorization": f"TargetToken {target_token(KEY, 'cam-1', 1)}"}
    async with world.client.get(path, headers=headers) as response:
        assert response.status == 503
    told = [record.getMessage() for record in caplog.records if "forged" in record.getMessage()]
    assert told
    assert not any("\n" in line for line in told)


async def test_poll_links_to_what_was_installed_last_and_that_is_told_without_bytes(world):
    await begun(world)
    assert "installedBase" not in await world.links()
    await world.health(CONTENT)
    assert await world.feedback(1, "closed", "success", "it runs") == 200
    assert (await world.links())["installedBase"] == "/installedBase/1"
    found = await (await world.ask("GET", "/installedBase/1?actionHistory=-1")).json()
    (chunk,) = found["deployment"]["chunks"]
    assert (found["id"], chunk["part"], chunk["version"]) == ("1", "model", "7.2.0")
    (artifact,) = chunk["artifacts"]
    assert (artifact["hashes"], artifact["_links"]) == ({"sha256": CONTENT.removeprefix("sha256:")}, {})
    assert found["actionHistory"] == {"status": "FINISHED", "messages": ["it runs"]}
    assert (await world.ask("GET", "/installedBase/2")).status == 404
    world.time.seconds += 5
    await world.health(OLD)
    await world.bridge.publisher._sweep()
    assert "installedBase" not in await world.links(), "it has fallen back since"


@pytest.mark.parametrize(
    ("asked", "messages"),
    [("", None), ("0", None), ("1", ["second"]), ("2", ["second", "first"]), ("-1", ["second", "first"])],
)
async def test_history_of_an_action_is_told_as_far_as_the_device_asks(world, asked, messages):
    await begun(world)
    assert await world.feedback(1, "proceeding", "none", "first") == 200
    assert await world.feedback(1, "proceeding", "none", "second") == 200
    path = f"/deploymentBase/1?actionHistory={asked}" if asked else "/deploymentBase/1"
    found = (await (await world.ask("GET", path)).json()).get("actionHistory")
    assert found == (None if messages is None else {"status": "RUNNING", "messages": messages})


async def test_history_keeps_the_last_messages_only(world):
    await begun(world)
    for number in range(50):
        assert await world.feedback(1, "proceeding", "none", f"line {number}") == 200
    found = await (await world.ask("GET", "/deploymentBase/1?actionHistory=999")).json()
    assert found["actionHistory"]["messages"] == [f"line {number}" for number in range(49, 29, -1)]


@pytest.mark.parametrize("asked", ["x", "-2", "1000", "1.5"])
async def test_history_is_refused_by_name_when_its_length_is_none(world, asked):
    await begun(world)
    response = await world.ask("GET", f"/deploymentBase/1?actionHistory={asked}")
    assert response.status == 400
    assert "actionHistory" in (await response.json())["message"]


async def test_artifacts_of_a_module_are_listed_while_their_step_is_open(world):
    assert await (await world.ask("GET", "/softwaremodules/model/artifacts")).json() == []
    world.order()
    await world.offered()
    (artifact,) = await (await world.ask("GET", "/softwaremodules/model/artifacts")).json()
    deployment = await (await world.ask("GET", "/deploymentBase/1")).json()
    assert [artifact] == deployment["deployment"]["chunks"][0]["artifacts"]
    assert await (await world.ask("GET", "/softwaremodules/config/artifacts")).json() == []


async def test_everything_that_is_offered_is_confirmed_by_the_plan(world):
    found = await (await world.ask("GET", "/confirmationBase")).json()
    assert found["autoConfirm"]["active"] is True
    assert "confirmationBase" not in await world.links(), "nothing waits there"
    assert (await world.ask("POST", "/confirmationBase/activateAutoConfirm", json={})).status == 200
    off = await world.ask("POST", "/confirmationBase/deactivateAutoConfirm")
    assert (off.status, (await off.json())["errorCode"]) == (409, "Conflict")
    assert (await world.ask("GET", "/confirmationBase/1")).status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": f'"{CONTENT}"'}, 304),
        ({"If-None-Match": f'"other", W/"{CONTENT}"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Match": f'"{CONTENT}"'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": f'W/"{CONTENT}"'}, 412),
        ({"If-Match": '"other"', "Range": "bytes=0-1"}, 412),
    ],
)
async def test_artifact_is_sent_only_under_the_conditions_that_the_device_names(world, headers, status):
    world.order()
    await world.offered()
    response = await world.ask("GET", "/softwaremodules/model/artifacts/model-7.2.0.bin", headers=headers)
    assert response.status == status
    assert response.headers["ETag"] == f'"{CONTENT}"'


@pytest.mark.parametrize("execution", ["proceeding", "scheduled", "resumed", "download", "downloaded"])
async def test_step_begins_with_any_word_that_is_no_end_and_extras_of_other_clients_are_let_pass(world, execution):
    world.order()
    await world.offered()
    status = {
        "execution": execution,
        "result": {"finished": "none", "progress": {"cnt": 2, "of": 5}},
        "code": 200,
        "details": ["still busy"],
    }
    body = {"id": "1", "time": "20260105T120000", "timestamp": 1767614400000, "status": status}
    assert (await world.ask("POST", "/deploymentBase/1/feedback", json=body)).status == 200
    assert world.model()["state"] == "Downloading"


@pytest.mark.parametrize(("execution", "reason"), [("canceled", "Canceled"), ("rejected", "Rejected")])
async def test_step_that_a_device_ends_in_other_words_has_failed(world, execution, reason):
    await begun(world)
    assert await world.feedback(1, execution) == 200
    assert world.model()["state"] == "Failed"
    assert world.model()["reason"].startswith(reason)


@pytest.mark.parametrize("execution", ["proceeding", "closed", "rejected"])
async def test_next_step_is_not_heard_of_before_the_replaced_one_was_given_up(world, execution):
    await begun(world, 1)
    world.order(2)
    assert await world.feedback(2, execution, "success") == 404
    assert (world.model()["state"], world.model()["step"]) == ("Downloading", 1)
    assert await world.feedback(1, "closed", "failure", "NoSpace") == 200
    assert world.model()["reason"] == "NoSpace"
    assert await world.feedback(2, execution, "success") == 200
    assert world.model()["step"] == 2
