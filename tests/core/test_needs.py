"""What an artifact needs, and what a device lacks of it."""

import pytest
from semver import Version

from backstay.core.needs import Equipment, Needs, ServedAs, is_older, lacking

RK3566 = Equipment(frozenset({"rk3566", "rk3566-evb"}), driver="0.9.8", runtime="2.3.2", form="pod")


@pytest.mark.parametrize(
    ("needs", "has", "said"),
    [
        (Needs(), Equipment(), None),
        (Needs(("rk3566", "rk3568"), Version(0, 9, 8), Version(2, 3, 2), "pod"), RK3566, None),
        (Needs(("rk3588",)), RK3566, "it is compiled for rk3588, and this device is rk3566, rk3566-evb"),
        (Needs(("rk3588",)), Equipment(), "it is compiled for rk3588, and this device does not tell what it is"),
        (
            Needs(driver=Version(0, 9, 9)),
            RK3566,
            "it needs NPU driver 0.9.9 or newer, and this device has 0.9.8",
        ),
        (
            Needs(runtime=Version(2, 4, 0)),
            RK3566,
            "it needs inference runtime 2.4.0 or newer, and this device has 2.3.2",
        ),
        (
            Needs(runtime=Version(2, 0, 0)),
            Equipment(),
            "it needs inference runtime 2.0.0 or newer, and this device tells of none",
        ),
        (
            Needs(form="system"),
            RK3566,
            "it is a system and so needs a second slot, and what this device changes as its firmware is a pod",
        ),
        (
            Needs(form="program"),
            Equipment(),
            "it is a program, and what this device changes as its firmware is nothing",
        ),
    ],
)
def test_lacking_names_what_is_needed_and_what_there_is(needs: Needs, has: Equipment, said: str | None) -> None:
    assert lacking(needs, has) == said


@pytest.mark.parametrize(
    ("found", "least", "older"),
    [
        ("2.3.2", "2.3.2", False),
        ("2.0.0b0", "2.0.0", True),
        ("2.0.0-b0", "1.9.9", False),
        ("2.3.2+abc", "2.3.2", False),
        ("unknown", "0.0.1", True),
        ("2.0.0b_0", "2.0.0", True),
    ],
)
def test_version_is_older_when_it_is_below_or_cannot_be_read(found: str, least: str, older: bool) -> None:
    assert is_older(found, Version.parse(least)) is older


@pytest.mark.parametrize("wrong", [{"chips": ("RK3566",)}, {"chips": ("",)}, {"form": "slot"}])
def test_needs_are_refused_when_no_device_could_have_them(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is no"):
        Needs(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["digits", "digits/1.2.0", "mnist_v2/7"])
def test_served_name_is_written_as_it_was_read(text: str) -> None:
    assert str(ServedAs.parse(text)) == text


@pytest.mark.parametrize("text", ["", "/", "a/", "a/b/c", "../x", "a b", "digits/1.0.0\n"])
def test_served_name_is_refused_when_it_could_lead_elsewhere(text: str) -> None:
    with pytest.raises(ValueError, match="neither MODEL nor MODEL/VERSION"):
        ServedAs.parse(text)
