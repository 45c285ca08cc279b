"""What the project tells people to apply is what its own kinds allow, by kubeconform and without a cluster."""

import re
from pathlib import Path

import pytest

from tests.helm import schemas
from tests.helm.chart import ROOT

APPLIED = sorted((ROOT / "manifests" / "example").glob("*.yaml")) + sorted(
    (ROOT / "manifests" / "health").glob("*.yaml")
)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    schemas.write_ours(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", APPLIED, ids=lambda path: path.name)
def test_example_is_what_its_kind_allows(path: Path, ours: Path):
    digest = f"registry.example/vision/x@sha256:{'0' * 64}"
    done = schemas.conforms(re.sub(r"\b[A-Z]+_ARTIFACT\b", digest, path.read_text()), ours)

    assert (done.returncode, done.stdout) == (0, "")


def test_field_that_is_misspelled_is_refused(ours: Path):
    text = (ROOT / "manifests" / "example" / "1-group.yaml").read_text().replace("selector:", "selecter:")
    done = schemas.conforms(text, ours)

    assert done.returncode == 1
    assert "additional properties 'selecter' not allowed" in done.stdout
