"""HOST:PORT means the same wherever it is written, and what is no address is told what it lacks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.core.addresses import host_and_port, in_url

EXAMPLE = "127.0.0.1:8080"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("[::]:8443", ("::", 8443)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
        ("localhost:80", ("localhost", 80)),
        ("node-1.site_2.example.:9465", ("node-1.site_2.example.", 9465)),
    ],
)
def test_address_is_read_and_written_again_as_it_was(text: str, address: tuple[str, int]) -> None:
    assert host_and_port(text, EXAMPLE) == address
    assert f"{in_url(address[0])}:{address[1]}" == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no colon"),
        ("8080", "no colon"),
        ("127.0.0.1:", "port '' is no number"),
        ("127.0.0.1:http", "port 'http' is no number"),
        ("127.0.0.1:65536", "from 0 to 65535"),
        ("127.0.0.1:-1", "from 0 to 65535"),
        ("127.0.0.1:٣", "from 0 to 65535"),
        ("127.0.0.1:" + "9" * 5000, "from 0 to 65535"),
        (":8080", "the host is missing; write 127.0.0.1"),
        ("::1:8080", "stands in brackets, as in [::1]"),
        ("[::1:8080", "neither an address nor the name"),
        ("[]:8080", "no IPv6 address in brackets"),
        ("[127.0.0.1]:8080", "no IPv6 address in brackets"),
        ("[[::1]]:8080", "no IPv6 address in brackets"),
        ("http://host:8080", "neither an address nor the name"),
        ("a b:8080", "neither an address nor the name"),
        ("-a:8080", "neither an address nor the name"),
    ],
)
def test_address_is_refused_by_what_it_lacks(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT, such as 127") as refused:
        host_and_port(text, EXAMPLE)
    assert why in str(refused.value)


@given(st.text() | st.text(alphabet="[]:%.0123456789abf-"))
def test_any_text_is_an_address_that_comes_back_the_same_or_is_refused(text: str) -> None:
    try:
        host, port = host_and_port(text, EXAMPLE)
    except ValueError:
        return
    assert host_and_port(f"{in_url(host)}:{port}", EXAMPLE) == (host, port)
