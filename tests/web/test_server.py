"""The page over HTTP: who comes in, what they see, and what nobody sees."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from cryptography import x509

from backstay.adapters.prometheus import Prometheus
from backstay.adapters.tls import Certificate
from backstay.errors import Refused
from backstay.ports.access import Kind
from backstay.web.outlook import Outlook
from backstay.web.rights import RIGHT_SECONDS
from backstay.web.server import Neighbours, application, assert_may_listen, serving
from tests.bridge.certificates import Authority
from tests.web.conftest import AWAY, EVERYTHING, TOKENS, Site, away, nobody, served, visiting
from tests.web.stage import Stage

PATHS = ("/", "/acme", "/acme/plans/vision", "/acme/devices", "/acme/devices/eu-cam-030", "/acme/holds")


@pytest.mark.parametrize("path", PATHS)
async def test_stranger_is_sent_to_sign_in_and_back_whatever_they_ask_for(site: Site, path: str) -> None:
    async with visiting(site) as visitor:
        async with visitor.session.get(site.address + path, allow_redirects=False) as answer:
            assert answer.status == 303
            assert answer.headers["Location"].startswith("/-/sign-in?to=%2F")
        assert (await visitor.sees("/nowhere"))[0] == 303, "what is not there looks the same"
        assert (await visitor.sees(f"/-/live?page={path}"))[0] == 401


@pytest.mark.parametrize("path", PATHS)
async def test_page_is_there_for_whoever_may_see_it(site: Site, path: str) -> None:
    async with visiting(site, "admin") as visitor:
        status, text = await visitor.sees(path)
    assert status == 200
    assert text.count("<h1") == 1
    assert "</html>" in text


async def test_token_in_the_header_opens_pages_without_a_session(site: Site) -> None:
    async with visiting(site) as visitor:
        assert (await visitor.sees("/acme", Authorization=f"Bearer {TOKENS['ada']}"))[0] == 200
        async with visitor.session.get(
            f"{site.address}/acme", headers={"Authorization": "Bearer wrong"}, allow_redirects=False
        ) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert not visitor.session.cookie_jar


async def test_session_is_a_random_number_in_a_cookie_that_scripts_and_other_sites_do_not_get(site: Site) -> None:
    async with visiting(site) as visitor:
        answer = await visitor.signs_in("ada")
        (cookie,) = answer.headers.getall("Set-Cookie")
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKENS["ada"] not in cookie
        assert "Path=/" in cookie
        assert (await visitor.signs_in("wrong")).status == 403


async def test_signing_out_ends_the_session_for_whoever_still_has_its_number(site: Site) -> None:
    async with visiting(site, "ada") as visitor:
        (cookie,) = list(visitor.session.cookie_jar)
        assert (await visitor.session.post(f"{site.address}/-/sign-out", allow_redirects=False)).status == 303
        assert (await visitor.sees("/acme", Cookie=f"backstay={cookie.value}"))[0] == 303


async def test_namespace_of_others_looks_as_if_it_were_not_there(site: Site) -> None:
    async with visiting(site, "ada") as visitor:
        missing = {path: await visitor.sees(path) for path in (
            "/borealis", "/borealis/plans/lights", "/borealis/devices", "/borealis/devices/eu-cam-000",
            "/borealis/holds", "/nowhere", "/acme/plans/nothing", "/acme/devices/nothing", "/acme/other", "/ACME",
            "/a/b/c/d",
        )}  # fmt: skip
        words = {path: text.replace(path, "") for path, (_, text) in missing.items()}
        _, overview = await visitor.sees("/")
        assert (await visitor.sees("/-/live?page=/borealis"))[0] == 404
    assert {status for status, _ in missing.values()} == {404}
    assert len(set(words.values())) == 1
    assert "borealis" not in overview
    assert "lights" not in overview
    assert "7.3.0" not in overview


async def test_counts_are_those_of_what_one_may_see(site: Site) -> None:
    async with visiting(site, "ada") as mine, visiting(site, "admin") as all_of_them:
        assert ">74</b> devices" in (await mine.sees("/"))[1]
        assert ">103</b> devices" in (await all_of_them.sees("/"))[1]


async def test_kind_that_one_may_not_list_is_left_out_where_others_are_shown(site: Site) -> None:
    async with visiting(site, "viewer") as visitor:
        _, plan = await visitor.sees("/acme/plans/vision")
        _, overview = await visitor.sees("/acme")
        assert (await visitor.sees("/acme/devices"))[0] == 404
        assert (await visitor.sees("/acme/holds"))[0] == 404
    assert "inference_accuracy" not in plan, "the query is the health rule's"
    assert "at least 0.80" not in plan
    assert '<path class="stroke' not in plan
    assert "moving-house" not in plan, "holds are told in the answer of why"
    assert "RingPromoted" not in plan, "events are another right"
    assert "You may not list devices here" in overview
    assert ">74<" not in overview


async def test_whoever_may_see_nothing_is_told_so(site: Site) -> None:
    async with visiting(site, "stranger") as visitor:
        status, text = await visitor.sees("/")
    assert status == 200
    assert "There is no namespace in which you may list" in text
    assert "acme" not in text


async def test_hostile_words_stand_as_text_wherever_they_come_from(site: Site) -> None:
    async with visiting(site, "admin") as visitor:
        for path in ("/", "/evil", "/evil/plans/plan", "/evil/devices", "/evil/devices/eve-1", "/evil/holds"):
            status, text = await visitor.sees(path)
            assert status == 200
            assert "<script>alert" not in text
            assert "<img" not in text
            assert "\u202e" not in text
        _, text = await visitor.sees("/evil/devices/eve-1")
    assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;" in text
    assert "\\u202e" in text
    assert "{{ 7 * 7 }}" in text


@pytest.mark.parametrize("query", ["name=%3Cscript%3E", "labels=a%3D%22%3E%3Cscript%3E", "version=%22%3E%3Cscript%3E"])
async def test_hostile_address_is_shown_as_text(site: Site, query: str) -> None:
    async with visiting(site, "ada") as visitor:
        _, text = await visitor.sees(f"/acme/devices?{query}")
    assert "<script>" not in text.replace('<script type="module"', "")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("labels=region", "is not KEY=VALUE"),
        ("state=Purple", "is none of"),
        ("plane=aeroplane", "is none of"),
        ("order=size", "neither name nor -name"),
        ("colour=red", "cannot be asked for by"),
        ("name=a&name=b", "is given 2 times"),
        (f"name={'x' * 2000}", "longer than"),
    ],
)
async def test_filter_that_means_nothing_is_refused_by_name(site: Site, query: str, words: str) -> None:
    async with visiting(site, "ada") as visitor:
        seen = await visitor.sees(f"/acme/devices?{query}")
        followed = await visitor.sees(f"/-/live?page={quote(f'/acme/devices?{query}', safe='')}")
    for status, text in (seen, followed):
        assert status == 400
        assert words in text


@pytest.mark.parametrize(
    "path", ["/", "/-/sign-in", "/nowhere", "/-/static/0/page.css", "/-/live", "/acme/devices?a=b"]
)
async def test_every_answer_tells_browsers_what_not_to_do(site: Site, path: str) -> None:
    async with visiting(site, "ada") as visitor, visitor.session.get(site.address + path) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_page_has_no_script_or_style_of_its_own_and_nothing_from_elsewhere(site: Site) -> None:
    async with visiting(site, "admin") as visitor:
        for path in (*PATHS, "/borealis/plans/lights", "/nowhere"):
            _, text = await visitor.sees(path)
            assert "style=" not in text
            assert "<style" not in text
            assert text.count("<script") == 1
            assert " onclick" not in text
            assert "http://" not in text
            assert "https://" not in text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_other_site_can_neither_sign_somebody_in_nor_out_nor_choose_colours(
    site: Site, headers: dict[str, str]
) -> None:
    async with visiting(site, "ada") as visitor:
        assert (await visitor.signs_in("admin", **headers)).status == 403
        for path in ("/-/sign-out", "/-/theme"):
            answer = await visitor.session.post(site.address + path, data={"theme": "dark"}, headers=headers)
            assert answer.status == 403
        assert (await visitor.sees("/acme"))[0] == 200


@pytest.mark.parametrize(
    "to", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", ""]
)
async def test_nobody_is_sent_elsewhere_after_signing_in(site: Site, to: str) -> None:
    async with visiting(site) as visitor:
        data = {"token": TOKENS["ada"], "to": to}
        answer = await visitor.session.post(f"{site.address}/-/sign-in", data=data, allow_redirects=False)
    assert answer.headers["Location"] == "/"


async def test_colours_are_remembered_and_only_those_that_there_are(site: Site) -> None:
    async with visiting(site, "ada") as visitor:
        post = visitor.session.post
        assert (
            await post(f"{site.address}/-/theme", data={"theme": "dark", "to": "/acme"}, allow_redirects=False)
        ).status == 303
        assert 'data-theme="dark"' in (await visitor.sees("/acme"))[1]
        assert (await post(f"{site.address}/-/theme", data={"theme": '"><script>'})).status == 400


async def test_page_changes_nothing_whatever_method_is_used(site: Site) -> None:
    async with visiting(site, "admin") as visitor:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = await visitor.session.request(method, f"{site.address}/acme/plans/vision")
            assert answer.status == 405
        async with visitor.session.head(f"{site.address}/acme/plans/vision") as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        async with visitor.session.head(f"{site.address}/-/live?page=/") as answer:
            assert answer.status == 404, "a stream without a body would never end"


async def test_assets_are_kept_for_ever_because_their_name_changes_with_them(site: Site) -> None:
    async with visiting(site) as visitor:
        _, text = await visitor.sees("/-/sign-in")
        (address,) = {part.split('"')[0] for part in text.split('href="') if "page.css" in part}
        async with visitor.session.get(site.address + address) as answer:
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.headers["Content-Type"].startswith("text/css")
        assert (await visitor.sees("/-/static/../../server.py"))[0] in {303, 404}


@asynccontextmanager
async def standing_by() -> AsyncIterator[Site]:
    """A replica that does not lead; whatever it is asked, it may ask the API server about tokens alone."""
    async with served(Stage()) as site:
        site.outlook.overview, site.outlook.who_leads = None, lambda: "operator-1 leads."
        yield site


@pytest.mark.parametrize("path", ["/", "/acme", "/-/live?page=/", "/-/sign-in"])
async def test_replica_that_does_not_lead_says_who_does_to_people_whom_it_knows_alone(path: str) -> None:
    async with standing_by() as site, visiting(site) as visitor:
        for token, is_told in ((TOKENS["ada"], True), ("wrong", False), ("", False)):
            status, text = await visitor.sees(path, **({"Authorization": f"Bearer {token}"} if token else {}))
            assert (status, "Try again in a moment" in text, "operator-1" in text) == (503, True, is_told)
        with away(site.stage):
            status, text = await visitor.sees(path, Authorization=f"Bearer {TOKENS['ada']}")
            assert (status, "operator-1" in text) == (503, False)


async def test_replica_is_ready_once_it_has_something_to_show() -> None:
    async with standing_by() as site, visiting(site) as visitor:
        assert (await visitor.sees("/-/ready"))[0] == 503
        site.outlook.show(site.stage.overview)
        assert (await visitor.sees("/-/ready"))[0] == 200


async def test_replica_that_does_not_lead_opens_and_ends_no_session() -> None:
    async with standing_by() as site, visiting(site) as visitor:
        for answer in (await visitor.signs_in("ada"), await visitor.session.post(f"{site.address}/-/sign-out")):
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert "Set-Cookie" not in answer.headers
            assert "Try again in a moment" in await answer.text()


async def test_api_server_that_is_away_lets_nobody_in_and_is_named() -> None:
    async with served(Stage()) as site, visiting(site, "admin") as visitor:
        with away(site.stage):
            status, text = await visitor.sees("/")
        assert (await visitor.sees("/"))[0] == 200
    assert status == 503
    assert AWAY in text


async def test_right_that_is_taken_away_closes_its_pages() -> None:
    stage = Stage()
    stage.hold("acme", "stop", reason="incident", scope={"selector": {}})
    async with served(stage) as site, visiting(site, "ada") as visitor:
        assert (await visitor.sees("/acme/holds"))[0] == 200
        stage.access.rights["ada"] = {"acme": EVERYTHING - {Kind.HOLDS}}
        stage.clock.pass_by(seconds=RIGHT_SECONDS + 1)
        assert (await visitor.sees("/acme/holds"))[0] == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_plain_http_is_served_on_loopback(host: str) -> None:
    assert_may_listen(host, is_secure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "backstay.example", ""])
def test_plain_http_is_refused_where_others_could_listen_in(host: str) -> None:
    with pytest.raises(Refused, match="--page-tls-certificate"):
        assert_may_listen(host, is_secure=False)
    assert_may_listen(host, is_secure=True)


async def test_port_that_is_taken_is_named(site: Site) -> None:
    near = Neighbours(site.stage.access, site.stage.chronicle, None, site.stage.clock)  # type: ignore[arg-type]
    app = application(near, Outlook(nobody), is_secure=False)
    with pytest.raises(Refused, match="another --page-listen"):
        async with serving(app, "127.0.0.1", int(site.address.rpartition(":")[2])):
            pass


async def test_page_in_tls_has_a_cookie_of_its_host_alone_and_takes_up_a_renewed_certificate(tmp_path: Path) -> None:
    stage, authority = Stage(), Authority(tmp_path, "ours")
    authority.issue("page", tmp_path / "tls")
    certificate = Certificate.in_directory(tmp_path / "tls")
    stage.access.let_in("token", "ada", {})
    async with aiohttp.ClientSession() as session:
        near = Neighbours(stage.access, stage.chronicle, Prometheus(session, "http://127.0.0.1:9"), stage.clock)
        app = application(near, Outlook(nobody, stage.overview), is_secure=True)
        async with serving(app, "localhost", 0, certificate) as address:
            assert address.startswith("https://")
            data = {"token": "token"}
            async with session.post(
                f"{address}/-/sign-in", data=data, ssl=authority.trusted(), allow_redirects=False
            ) as answer:
                (cookie,) = answer.headers.getall("Set-Cookie")
            assert cookie.startswith("__Host-backstay=")
            assert "Secure" in cookie
            serial = authority.issue("page", tmp_path / "tls")
            assert certificate.take_up_changes()
            assert await _serial(address, authority.trusted()) == serial


async def _serial(address: str, tls: ssl.SSLContext) -> int:
    _, writer = await asyncio.open_connection("localhost", int(address.rpartition(":")[2]), ssl=tls)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(shown).serial_number
