"""What `lint` says of every example that the API server was asked about, and of all that we hand out."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backstay.core.planes import Plane
from backstay.lint.checking import Report, check
from backstay.lint.finding import Severity

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests" / "api" / "examples"
NOW = datetime(2026, 2, 1, tzinfo=UTC)
NOT_YET = {
    "edgedevice-node": "spec.pins",
    "edgedevice-of-an-unknown-class": "spec.class",
    "releaseplan-everything": "spec.pullSecretRef",
}
"""What the API server takes and the operator refuses."""


def linted(*paths: Path) -> Report:
    return check(((path.name, path.read_text()) for path in paths), NOW)


def errors(report: Report) -> list[str]:
    return [str(found) for found in report.findings if found.severity is Severity.ERROR]


@pytest.mark.parametrize("path", sorted((EXAMPLES / "accepted").glob("*.yaml")), ids=lambda path: path.stem)
def test_example_has_no_error_when_it_is_accepted(path: Path) -> None:
    found = errors(linted(path))
    if path.stem in NOT_YET:
        (found,) = found
        assert f"error: {NOT_YET[path.stem]}: NotYetSupported: " in found
    else:
        assert found == []


@pytest.mark.parametrize("path", sorted((EXAMPLES / "rejected").glob("*.yaml")), ids=lambda path: path.stem)
def test_example_has_an_error_at_the_same_field_when_it_is_rejected(path: Path) -> None:
    text = path.read_text()
    said = dict(re.findall(r"^# (\w+): (.*)$", text, re.MULTILINE))
    field = said["field"]
    if "\n---\n" in text:
        # That an object is not what it was before only a cluster knows; that it stands there twice is seen.
        field = "metadata.name"
    assert any(re.search(rf"error: {re.escape(field)}: ", found) for found in errors(linted(path)))


@pytest.mark.parametrize("path", sorted((EXAMPLES / "rejected").glob("*.yaml")), ids=lambda path: path.stem)
def test_one_fault_is_one_error(path: Path) -> None:
    # The second: what is no node is no esp32 either, and a class that changed is one that this version does not know.
    two = {"edgedevice-neither-node-nor-gateway", "edgedevice-class-changes"}
    assert len(errors(linted(path))) == (2 if path.stem in two else 1)


def test_what_we_hand_out_has_no_error() -> None:
    def filled(path: Path) -> str:
        text = path.read_text().replace(": DEVICE", ": cam-1")
        for number, plane in enumerate(Plane):
            text = text.replace(f"{plane.upper()}_ARTIFACT", f"registry.example/{plane}@sha256:{str(number) * 64}")
        return text.replace("VERSION,", "1.0.0,").replace('"ARTIFACT"', f"registry.example/model@sha256:{'a' * 64}")

    paths = [path for path in (ROOT / "manifests").rglob("*.yaml") if "resource_customizations" not in path.parts]
    report = check(((path.name, filled(path)) for path in sorted(paths)), NOW)
    assert errors(report) == []
    assert len(report.objects) > 10
    assert report.others > 10
