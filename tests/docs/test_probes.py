"""The page on probes has every kind with its settings, and every fault that a node's probes tell."""

import re
from pathlib import Path

from backstay.adapters.node.probes.registry import KINDS
from backstay.api.probes import FIELD_OWNERS, ProbeFields, ProbeKind
from backstay.controllers.probes import ABLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "probes.md").read_text(encoding="utf-8")
ROWS = {
    row[0]: row[1:]
    for row in re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
}
MODULES = ROOT / "operator" / "backstay" / "adapters" / "node" / "probes"


def test_every_kind_has_a_row() -> None:
    assert set(ROWS) == {kind.value for kind in ProbeKind} == set(KINDS)


def test_row_says_which_classes_make_the_kind() -> None:
    for kind, (classes, *_) in ROWS.items():
        on_purpose = kind == ProbeKind.FAIL_ON_PURPOSE
        assert ("esp32" in classes) == (on_purpose or ProbeKind(kind) in ABLE["esp32"]), kind
        assert "rk3566" in classes


def test_every_setting_stands_beside_its_kinds() -> None:
    for setting, kinds in FIELD_OWNERS.items():
        for kind, (_, settings, *_) in ROWS.items():
            assert (f"`{setting}`" in settings) == (kind in kinds), (setting, kind)


def test_every_other_field_stands_in_the_table_for_all() -> None:
    common = set(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE))
    fields = {field.alias or name for name, field in ProbeFields.model_fields.items()}
    assert common == fields - set(FIELD_OWNERS) - {"name", "kind"} | {"blames"}


def test_every_fault_stands_beside_its_kind() -> None:
    for kind, (*_, faults) in ROWS.items():
        source = Path(MODULES / f"{KINDS[kind].__module__.rpartition('.')[2]}.py").read_text(encoding="utf-8")
        told = set(re.findall(r"amiss\(\s*f?\"(\w+)[\"{]", source))
        for fault in re.findall(r"`(\w+)`", faults):
            assert any(fault.startswith(word) for word in told), (kind, fault)
        if kind not in {"InferenceAlive", "InferenceReady"}:  # they share a module
            assert all(any(fault.startswith(word) for fault in re.findall(r"`(\w+)`", faults)) for word in told), kind
