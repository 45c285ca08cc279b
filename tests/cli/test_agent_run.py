"""The options of `backstay agent run`."""

import pytest

from backstay.cli.agent_run import parser


def test_metrics_are_answered_at_an_ipv6_address_as_people_write_it() -> None:
    assert parser().parse_args(["--metrics-listen", "[::1]:9465"]).metrics_listen == ("::1", 9465)


@pytest.mark.parametrize(
    ("listen", "why"),
    [(":9465", "the host is missing"), ("::1:9465", "stands in brackets"), ("http://x:9465", "neither an address")],
)
def test_metrics_are_refused_at_what_is_no_address(listen: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--metrics-listen", listen])
    said = capsys.readouterr().err
    assert "argument --metrics-listen" in said
    assert why in said
