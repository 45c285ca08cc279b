"""The grammar of what goes wrong, and the words with which it refuses."""

from datetime import timedelta
from fractions import Fraction

import pytest

from backstay.core.planes import Plane
from backstay.errors import Refused
from backstay.simulate.rollout.faults import NO_FAULTS, Offline, Outage, parse_faults


def test_every_form_is_read() -> None:
    found = parse_faults(
        ["bad-model=0.3", "silent-config", "offline=5%/2h", "falls-silent=1%", "registry-outage=10m@1h",
         "prometheus-outage=15m@2h", "operator-crash@30m", "operator-crash@90m"]
    )  # fmt: skip
    assert found.bad == {Plane.MODEL: Fraction(3, 10)}
    assert found.silent == {Plane.CONFIG: Fraction(1)}
    assert found.offline == Offline(Fraction(1, 20), timedelta(hours=2))
    assert found.falls_silent == Fraction(1, 100)
    assert found.registry == (Outage(timedelta(hours=1), timedelta(minutes=10)),)
    assert found.prometheus == (Outage(timedelta(hours=2), timedelta(minutes=15)),)
    assert found.crashes == (timedelta(minutes=30), timedelta(minutes=90))
    assert parse_faults([]) == NO_FAULTS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bad-camera", "there is no fault bad-camera"),
        ("offline", "it must read offline=SHARE"),
        ("offline=120%", "a share is above 0 and at most 1"),
        ("offline=much", "'much' is not a share"),
        ("registry-outage=10m", "says no time"),
        ("registry-outage=soon@1h", "'soon' is not a duration"),
        ("operator-crash", "says no time"),
        ("operator-crash=2@1h", "means nothing here"),
        ("bad-model@1h", "means nothing here"),
        ("Bad Model", "is not a fault"),
    ],
)
def test_fault_that_is_wrong_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        parse_faults([text])


def test_one_plane_is_bad_in_one_way() -> None:
    with pytest.raises(Refused, match="the model is bad already"):
        parse_faults(["bad-model", "silent-model"])
