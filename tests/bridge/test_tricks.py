"""Requests as no decent client makes them, byte by byte: paths, headers and bodies that hope for a careless reader."""

import asyncio
import copy
import gzip
import json
import logging
from collections.abc import AsyncIterator

import pytest

from backstay.adapters.listening import listening
from backstay.bridge.entrance import BODY_LIMIT_BYTES
from backstay.bridge.tokens import target_token
from tests.bridge.conftest import BYTES, KEY, World

BASE = "/acme/controller/v1/cam-1"
ARTIFACT = f"{BASE}/softwaremodules/model/artifacts/model-7.2.0.bin"
TOKEN = f"TargetToken {target_token(KEY, 'cam-1', 1)}"
OURS = ("Authorization", TOKEN)
ATTRIBUTES = b'{"data":{"VIN":"JH4"}}'


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    world.order()
    await world.offered()
    async with listening(world.bridge.application, "127.0.0.1", 0) as address:
        yield int(address.rpartition(":")[2])


def request(method: str, path: str, *headers: tuple[str, str], body: bytes = b"", host: str = "bridge") -> bytes:
    """One request as it goes over the wire; latin-1, so that a test can say any byte."""
    given = [("Host", host), ("Connection", "close"), *headers]
    if not any(name == "Transfer-Encoding" for name, _ in headers):
        given.append(("Content-Length", str(len(body))))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


async def answer(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of what the bridge says to these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            said = await reader.read()
    finally:
        writer.close()
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


@pytest.mark.parametrize(
    "path",
    [
        f"{BASE}/",
        f"/{BASE}",
        f"{BASE}/../cam-2",
        f"{BASE}/%2e%2e/cam-2",
        f"{BASE}/.",
        f"{BASE}/deploymentBase//1",
        f"{BASE}/deploymentBase/1%0a",
        f"{BASE}/deploymentBase/1%00",
        f"{BASE}/deploymentBase/+1",
        f"{BASE}/deploymentBase/01",
        f"{BASE}/deploymentBase/%D9%A1",
        f"{BASE}/deploymentBase/9999999999999999",
        f"{BASE}/deploymentBase/{'9' * 5000}",
        f"{BASE}/deploymentBase/1%2ffeedback",
        f"{ARTIFACT}%00.MD5SUM",
        f"{ARTIFACT}.MD5SUM.MD5SUM",
        f"{ARTIFACT}/",
        f"{ARTIFACT};x",
        f"{BASE}/softwaremodules/model/artifacts/../../../../../../etc/passwd",
        f"{BASE}/softwaremodules/model/artifacts/..%2f..%2f..%2fetc%2fpasswd",
        f"{BASE}/softwaremodules/model/artifacts/%2e%2e",
        f"{BASE}/softwaremodules/..%2fmodel/artifacts/model-7.2.0.bin",
        "/",
        "/openapi.json/",
    ],
)
async def test_path_is_not_found_when_it_is_none_of_the_bridges(port: int, path: str) -> None:
    status, headers, body = await answer(port, request("GET", path, OURS))
    assert (status, headers["Content-Type"], json.loads(body)["errorCode"]) == (404, "application/json", "NotFound")


@pytest.mark.parametrize(
    "path",
    [
        f"{BASE}%00",
        f"{BASE}%0a",
        f"{BASE}%2f..%2fcam-1",
        f"{BASE}%zz",
        f"{BASE}%ff",
        "/acme%00/controller/v1/cam-1",
        "/acme%2fx/controller/v1/cam-1",
        f"/acme/controller/v1/{'x' * 5000}",
        "/acme/controller/v1/%2e%2e",
        "/acme/controller/v1/CAM-1",
    ],
)
async def test_device_is_unknown_when_its_name_only_looks_like_ours(port: int, path: str) -> None:
    status, _, body = await answer(port, request("GET", path, OURS))
    assert (status, json.loads(body)["message"]) == (401, "no such device here, or not its token")


async def test_device_is_the_same_when_its_path_is_written_in_another_way(port: int) -> None:
    for path in (
        "/%61cme/controller/v1/c%61m-1",
        "http://bridge/acme/controller/v1/cam-1",
        f"{BASE}#x",
        f"{BASE}?x=%ff",
    ):
        status, _, body = await answer(port, request("GET", path, OURS))
        assert (status, json.loads(body)["_links"]["health"]["href"]) == (200, f"http://bridge{BASE}/health")


@pytest.mark.parametrize("path", [f"{BASE}é", f"{BASE}\xff", "http://[::/acme/controller/v1/cam-1", f"{BASE} x", "*"])
async def test_path_is_refused_at_the_door_when_it_is_none(port: int, path: str) -> None:
    assert (await answer(port, request("GET", path, OURS)))[0] == 400


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (BASE, "GET,HEAD"),
        (f"{BASE}/deploymentBase/1", "GET,HEAD"),
        (f"{BASE}/deploymentBase/1/feedback", "POST"),
        (f"{BASE}/configData", "PUT"),
        (ARTIFACT, "GET,HEAD"),
    ],
)
async def test_method_is_refused_by_naming_those_that_the_path_has(port: int, path: str, allowed: str) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - set(allowed.split(",")):
        status, headers, _ = await answer(port, request(method, path, OURS))
        assert (status, headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("method", ["BREW", "get", "CONNECT", "PROPFIND", "GET\x00"])
async def test_method_is_refused_when_nobody_here_knows_it(port: int, method: str) -> None:
    assert (await answer(port, request(method, BASE, OURS)))[0] in {400, 404, 405}


@pytest.mark.parametrize(
    "headers",
    [
        [OURS, ("Authorization", "TargetToken x")],
        [("Authorization", "TargetToken x"), OURS],
        [OURS, OURS],
        [("Authorization", f"{TOKEN}\xff")],
        [("Authorization", f"{TOKEN} {TOKEN}")],
        [("Authorization", f"TargetToken {'x' * 5000}")],
        [("Authorization", f"TargetToken\t{TOKEN.partition(' ')[2]}")],
        [("Proxy-Authorization", TOKEN)],
    ],
)
async def test_device_is_turned_away_when_it_does_not_say_one_token(port: int, headers: list[tuple[str, str]]) -> None:
    assert (await answer(port, request("GET", BASE, *headers)))[0] == 401


@pytest.mark.parametrize(
    "host", ["a/b?c#d", "a@evil", "a b", "a:99999", "a:b", "\xff", "xn--\xe9", "[::1", "a,b", "a\\b"]
)
async def test_links_are_refused_when_the_host_could_lead_elsewhere(port: int, host: str) -> None:
    status, _, body = await answer(port, request("GET", BASE, OURS, host=host))
    assert (status, json.loads(body)["message"]) == (400, "the header Host names no host")


@pytest.mark.parametrize("host", ["bridge", "bridge:8080", "10.0.0.1:80", "[::1]:8080", "gw-1.site_2.example."])
async def test_links_lead_to_the_host_that_the_device_names(port: int, host: str) -> None:
    forwarded = ("X-Forwarded-Host", "evil"), ("Forwarded", "host=evil")
    status, _, body = await answer(port, request("GET", BASE, OURS, *forwarded, host=host))
    assert status == 200
    assert json.loads(body)["_links"]["health"]["href"].removesuffix(f"{BASE}/health") in {
        f"http://{host}",
        f"http://{host.removesuffix(':80')}",
    }


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "evil")],
        [("Content-Length", "3")],
        [("Content-Length", "-1")],
        [("Transfer-Encoding", "chunked"), ("Content-Length", "3")],
        [("Transfer-Encoding", "chunked, identity")],
        [("X-Folded", "a\r\n b")],
        [("X-Nul", "a\x00b")],
        [("X Spaced", "a")],
        [("X-Colon ", "a")],
    ],
)
async def test_request_is_refused_at_the_door_when_two_readers_could_read_it_differently(
    port: int, headers: list[tuple[str, str]]
) -> None:
    assert (await answer(port, request("PUT", f"{BASE}/configData", OURS, *headers, body=ATTRIBUTES)))[0] == 400


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_body_is_refused_when_it_is_not_encoded_as_it_says(port: int, encoding: str) -> None:
    sent = request("PUT", f"{BASE}/configData", OURS, ("Content-Encoding", encoding), body=ATTRIBUTES)
    assert (await answer(port, sent))[0] == 400


async def test_body_is_taken_when_it_is_compressed_and_refused_when_it_swells_beyond_the_limit(port: int) -> None:
    for body, expected in ((ATTRIBUTES, 200), (b" " * 100 * BODY_LIMIT_BYTES, 413)):
        sent = request("PUT", f"{BASE}/configData", OURS, ("Content-Encoding", "gzip"), body=gzip.compress(body))
        assert (await answer(port, sent))[0] == expected


@pytest.mark.parametrize(("expectation", "told"), [("100-continue", 100), ("miracles", 200), ("", 200)])
async def test_expectation_is_met_or_let_pass(port: int, expectation: str, told: int) -> None:
    sent = request("PUT", f"{BASE}/configData", OURS, ("Expect", expectation), body=ATTRIBUTES)
    status, _, rest = await answer(port, sent)
    assert status == told
    assert told == 200 or rest.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "body",
    [
        b'{"interval": NaN}',
        b'{"interval": Infinity}',
        b'{"interval": 1e999}',
        b'{"interval": ' + b"9" * 5000 + b"}",
        b'{"interval": 01}',
        b'{"interval": 1, "interval": -1}',
        b"[" * 30_000 + b"]" * 30_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"log": ["\\ud800"]}',
        b'{"agent": "\xff"}',
        b'{"agent": "\xc0\xaf"}',
        b'{"agent": "a\x00b"}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"{} {}",
        b"{'agent': 1}",
        b'{"planes": []}',
        b'{"planes": {"model": {"version": 0}}}',
        b'{"resources": false}',
        b'{"resources": []}',
        b'{"slot": "a\\n"}',
    ],
)
async def test_report_is_refused_when_it_is_not_json_as_everybody_reads_it(port: int, body: bytes) -> None:
    status, _, said = await answer(port, request("POST", f"{BASE}/health", OURS, body=body))
    assert (status, json.loads(said)["errorCode"]) == (400, "BadRequest")


@pytest.mark.parametrize("mode", ["", 0, False, [], {}, "MERGE", "merge\n"])
async def test_attributes_are_refused_when_their_mode_is_none(port: int, mode: object) -> None:
    body = json.dumps({"mode": mode, "data": {}}).encode()
    assert (await answer(port, request("PUT", f"{BASE}/configData", OURS, body=body)))[0] == 400


async def test_first_range_counts_when_a_device_asks_for_two(port: int) -> None:
    ranges = ("Range", "bytes=0-1"), ("Range", "bytes=5-6")
    status, _, body = await answer(port, request("GET", ARTIFACT, OURS, *ranges))
    assert (status, body) == (206, BYTES[:2])


async def test_every_tag_counts_when_a_device_names_them_in_two_headers(port: int) -> None:
    _, headers, _ = await answer(port, request("HEAD", ARTIFACT, OURS))
    ours, other = headers["ETag"], '"other"'
    for name, expected in (("If-None-Match", 304), ("If-Match", 200)):
        for tags in ((ours, other), (other, ours)):
            sent = request("GET", ARTIFACT, OURS, *((name, tag) for tag in tags))
            assert (await answer(port, sent))[0] == expected
    _, headers, _ = await answer(port, request("GET", BASE, OURS))
    known = ("If-None-Match", other), ("If-None-Match", headers["ETag"])
    assert (await answer(port, request("GET", BASE, OURS, *known)))[0] == 304


async def test_token_never_enters_the_log_when_its_request_is_no_http(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for sent in (
            request("GET", BASE, OURS).replace(b"\r\n", b"\n"),
            request("GET", BASE, ("Authorization", f"{TOKEN}\x00")),
            request("PUT", f"{BASE}/configData", OURS, ("Content-Encoding", "gzip"), body=TOKEN.encode()),
        ):
            assert (await answer(port, sent))[0] == 400
    assert TOKEN.partition(" ")[2] not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "nor can it fill it"


async def test_nothing_changes_when_a_stranger_tries_everything(port: int, world: World) -> None:
    before = copy.deepcopy(world.api.objects)
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        for path in ("", "/health", "/configData", "/deploymentBase/1", "/deploymentBase/1/feedback", "/x"):
            status, _, _ = await answer(port, request(method, BASE + path, body=ATTRIBUTES))
            assert status in {401, 404, 405}
    assert world.api.objects == before
    assert world.bridge.sessions.of("cam-1").attributes is None
