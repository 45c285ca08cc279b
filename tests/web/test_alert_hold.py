"""What an alert says becomes a Hold exactly as it is said, or none at all."""

from datetime import UTC, datetime
from typing import Any

import pytest

from backstay.web.alert_hold import NotHeld, Refusal, hold_document, place_of
from backstay.web.alert_payload import Alert
from tests.web.alerts import FINGERPRINT, alert

NOW = datetime(2026, 1, 5, 12, 30, 0, 250_000, tzinfo=UTC)
DIGEST = f"sha256:{'c' * 64}"


def spec(labels: dict[str, str] | None = None, **annotations: str) -> dict[str, Any]:
    found: dict[str, Any] = hold_document(Alert.model_validate(alert(labels=labels, **annotations)), NOW)["spec"]
    return found


def refused(labels: dict[str, str] | None = None, **annotations: str) -> Refusal:
    with pytest.raises(NotHeld) as error:
        spec(labels, **annotations)
    return error.value.refusal


def test_hold_is_named_for_its_alert_and_says_whose_it_is():
    document = hold_document(Alert.model_validate(alert(summary="the model has become wrong")), NOW)
    assert document["metadata"] == {
        "name": f"alert-{FINGERPRINT}",
        "namespace": "acme",
        "labels": {"backstay.dev/made-by": "alert", "backstay.dev/alert-fingerprint": FINGERPRINT},
    }
    assert document["spec"] == {
        "scope": {"groups": ["cameras"]},
        "inFlight": "Finish",
        "reason": "alert AccuracyLow: the model has become wrong (http://prometheus.example/graph?g0.expr=accuracy)",
        "until": "2026-01-05T16:30:00Z",
    }


@pytest.mark.parametrize(
    ("annotations", "what"),
    [
        ({"backstay_hold_groups": "cameras, lamps"}, {"scope": {"groups": ["cameras", "lamps"]}}),
        ({"backstay_hold_devices": "cam-1,cam-2,cam-1"}, {"scope": {"devices": ["cam-1", "cam-2"]}}),
        (
            {"backstay_hold_selector": "region=eu,site=hall-1"},
            {"scope": {"selector": {"matchLabels": {"region": "eu", "site": "hall-1"}}}},
        ),
        ({"backstay_hold_everything": "true"}, {"scope": {"selector": {}}}),
        ({"backstay_hold_versions": f"model={DIGEST}"}, {"versions": [{"plane": "model", "digest": DIGEST}]}),
        (
            {"backstay_hold_groups": "cameras", "backstay_hold_versions": f"model={DIGEST}"},
            {"scope": {"groups": ["cameras"]}, "versions": [{"plane": "model", "digest": DIGEST}]},
        ),
    ],
)
def test_hold_stops_what_the_alert_says(annotations, what):
    found = spec(**annotations)
    assert {key: found[key] for key in found.keys() & {"scope", "versions"}} == what


def test_hold_takes_from_labels_what_annotations_do_not_say():
    found = spec({"backstay_hold_for": "90m", "backstay_hold_in_flight": "Return"})
    assert (found["until"], found["inFlight"]) == ("2026-01-05T14:00:00Z", "Return")


def test_hold_is_where_the_annotation_says_when_the_label_says_otherwise():
    found = Alert.model_validate(alert(backstay_hold_namespace="borealis", backstay_hold_everything="true"))
    assert place_of(found).namespace == "borealis"


@pytest.mark.parametrize(
    ("annotations", "refusal"),
    [
        ({"backstay_hold_everything": "yes"}, Refusal.SCOPE),
        ({"backstay_hold_everything": "false"}, Refusal.SCOPE),
        ({"backstay_hold_groups": " , "}, Refusal.SCOPE),
        ({"backstay_hold_selector": ""}, Refusal.SCOPE),
        ({"backstay_hold_selector": "region"}, Refusal.SCOPE),
        ({"backstay_hold_selector": "region=eu,region=us"}, Refusal.SCOPE),
        ({"backstay_hold_groups": "cameras", "backstay_hold_devices": "cam-1"}, Refusal.SCOPE),
        ({"backstay_hold_versions": f"model={DIGEST}", "backstay_hold_groups": ""}, Refusal.SCOPE),
        ({"backstay_hold_versions": "model=7.2.0"}, Refusal.HOLD),
        ({"backstay_hold_groups": "Not A Name"}, Refusal.HOLD),
        ({"backstay_hold_groups": ",".join(f"g{n}" for n in range(33))}, Refusal.HOLD),
        ({"backstay_hold_groups": "cameras", "backstay_hold_in_flight": "Stop"}, Refusal.HOLD),
        ({"backstay_hold_groups": "cameras", "backstay_hold_for": "soon"}, Refusal.LASTS),
        ({"backstay_hold_groups": "cameras", "backstay_hold_for": "0s"}, Refusal.LASTS),
        ({"backstay_hold_groups": "cameras", "backstay_hold_for": "168h1s"}, Refusal.LASTS),
        ({"backstay_hold_groups": "cameras", "backstay_hold_namespace": "a/../b"}, Refusal.NAMESPACE),
    ],
)
def test_alert_makes_no_hold_when_it_says_wrongly_what_to_stop(annotations, refusal):
    assert refused(**annotations) is refusal


def test_alert_makes_no_hold_when_it_names_no_namespace():
    assert refused({"namespace": ""}) is Refusal.NAMESPACE


def test_longest_hold_is_a_week():
    assert spec(backstay_hold_groups="cameras", backstay_hold_for="168h")["until"] == "2026-01-12T12:30:00Z"
