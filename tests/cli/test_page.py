"""The options of the web page, together and apart."""

import re
from ipaddress import ip_address
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backstay.adapters.kube.client import KubeClient
from backstay.cli.operator import app
from backstay.cli.page import PageSettings, page_served, page_settings
from backstay.controllers.leader_service import LeadersPort, Pod
from backstay.errors import Refused
from tests.guides import blocks

CERTIFICATE, KEY = Path("tls.crt"), Path("tls.key")


def test_page_is_not_served_when_nobody_asks_for_it() -> None:
    assert page_settings(None, None, None) is None


def test_page_is_served_where_it_is_asked_for() -> None:
    assert page_settings("127.0.0.1:0", None, None) == PageSettings("127.0.0.1", 0, None, None)
    assert page_settings("[::]:8443", CERTIFICATE, KEY) == PageSettings("::", 8443, CERTIFICATE, KEY)


POD = {"POD_NAME": "backstay-operator-0", "POD_UID": "5f0d", "POD_IP": "10.1.0.7"}


def test_service_leads_to_the_port_and_the_pod_of_the_page() -> None:
    settings = page_settings("0.0.0.0:8443", CERTIFICATE, KEY, "backstay-page", POD)
    assert settings is not None
    pod = Pod("backstay-operator-0", "5f0d", ip_address("10.1.0.7"))
    assert settings.reached == LeadersPort("backstay-page", "page", 8443, pod)


@pytest.mark.parametrize(
    ("listen", "environment", "words"),
    [
        (None, POD, "with --page-listen only"),
        ("0.0.0.0:0", POD, "one other than 0"),
        ("0.0.0.0:8443", {}, "it takes POD_NAME, POD_UID, POD_IP in the environment"),
        ("0.0.0.0:8443", POD | {"POD_UID": ""}, "it takes POD_UID in the environment"),
        ("0.0.0.0:8443", POD | {"POD_IP": "backstay"}, "POD_IP is 'backstay', which is no IP address"),
    ],
)
def test_service_that_cannot_lead_here_is_refused_by_name(
    listen: str | None, environment: dict[str, str], words: str
) -> None:
    with pytest.raises(typer.BadParameter, match=words):
        page_settings(listen, None, None, "backstay-page", environment)


@pytest.mark.parametrize(
    ("listen", "certificate", "key", "words"),
    [
        ("8443", None, None, "is not HOST:PORT"),
        (":8443", None, None, "is not HOST:PORT"),
        ("127.0.0.1:http", None, None, "is not HOST:PORT"),
        ("127.0.0.1:65536", None, None, "is not HOST:PORT"),
        ("127.0.0.1:1", CERTIFICATE, None, "go together"),
        ("127.0.0.1:1", None, KEY, "go together"),
        (None, CERTIFICATE, KEY, "with --page-listen only"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(
    listen: str | None, certificate: Path | None, key: Path | None, words: str
) -> None:
    with pytest.raises(typer.BadParameter, match=words):
        page_settings(listen, certificate, key)


def test_operator_does_not_start_with_an_option_that_does_not_fit() -> None:
    arguments = ["run", "--prometheus", "http://x", "--alertmanager", "http://x", "--page-listen", "nowhere"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 2
    assert "--page-listen" in answer.output


async def test_page_in_plain_http_is_refused_where_others_could_listen_in(unused: KubeClient) -> None:
    settings = PageSettings("0.0.0.0", 0, None, None)
    with pytest.raises(Refused, match="--page-tls-certificate"):
        async with page_served(settings, unused, None, str):  # type: ignore[arg-type]
            pass


async def test_certificate_that_cannot_be_used_is_named(unused: KubeClient, tmp_path: Path) -> None:
    settings = PageSettings("127.0.0.1", 0, tmp_path / "tls.crt", tmp_path / "tls.key")
    with pytest.raises(Refused, match="no usable certificate"):
        async with page_served(settings, unused, None, str):  # type: ignore[arg-type]
            pass


@pytest.fixture
def unused() -> KubeClient:
    """A client that is never asked."""
    return object()  # type: ignore[return-value]


def test_guide_names_the_options_that_there_are() -> None:
    guide = (Path(__file__).parents[2] / "docs/how-to/watch-on-the-page.md").read_text()
    (shown,) = blocks(guide, "console")
    named = set(re.findall(r"--page-[\w-]+", shown))
    assert named == set(
        re.findall(r"--page-[\w-]+", str([one.opts for one in typer.main.get_command(app).commands["run"].params]))
    )
