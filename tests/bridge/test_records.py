import pytest

from backstay.adapters.kube.standing_orders import group_record, hold_record
from backstay.bridge.keys import BadTenantKey, key_from
from backstay.bridge.records import device_record
from backstay.core.devices import DeviceName
from backstay.core.planes import ContentDigest, Plane
from backstay.core.selectors import EVERYTHING
from backstay.errors import Refused
from tests.bridge.conftest import CONTENT, secret

ENVELOPE = {"apiVersion": "backstay.dev/v1alpha1", "metadata": {"name": "stop"}}


def test_hold_that_cannot_be_read_holds_everything_when_it_is_of_a_later_release():
    spec = {"scope": {"selector": {}}, "reason": "r", "onlyOnMondays": True}
    hold = hold_record(ENVELOPE | {"kind": "Hold", "spec": spec})
    assert hold.covers_device(DeviceName("any"), {}, frozenset())
    assert hold.covers_version(Plane.MODEL, ContentDigest(CONTENT))


def test_group_that_cannot_be_read_picks_every_device_when_it_is_of_a_later_release():
    assert group_record(ENVELOPE | {"kind": "DeviceGroup", "spec": {"shape": "round"}}) == EVERYTHING


@pytest.mark.parametrize("spec", [{}, {"class": "esp32", "desired": {"step": {"number": 1}}}])
def test_device_is_refused_by_name_when_it_cannot_be_read(spec):
    with pytest.raises(Refused, match="cam-1"):
        device_record({"metadata": {"name": "cam-1"}, "spec": spec})


@pytest.mark.parametrize("text", ["", "not base64!", "c2hvcnQ="])
def test_tenant_key_is_refused_with_its_secrets_name_when_it_is_no_key(text):
    with pytest.raises(BadTenantKey, match="acme/backstay-tenant-key"):
        key_from({"data": {"key": text}}, "acme")


def test_tenant_key_is_read_when_it_is_long_enough():
    assert key_from(secret(b"0123456789abcdef"), "acme") == b"0123456789abcdef"
