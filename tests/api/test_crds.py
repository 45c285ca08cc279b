"""The CRD files are what the models say."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api import KINDS, ReleasePlan, Resource
from backstay.api.crds import HEADER, crd, crd_files, main
from backstay.api.generated import Drift
from backstay.api.reference import reference

ROOT = Path(__file__).parents[2]


def schema(kind: type[Resource]) -> dict[str, Any]:
    return crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def parts(node: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Every schema in a schema, by path."""
    found = [(path, node)]
    for name, part in node.get("properties", {}).items():
        found += parts(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            found += parts(node[key], f"{path}[]")
    return found


def test_committed_files_are_what_the_models_say() -> None:
    crd_files().check(ROOT / "crds")
    reference().check(ROOT / "docs" / "reference")


def test_writing_gives_the_same_bytes_when_done_again_elsewhere(tmp_path: Path) -> None:
    crd_files().write(tmp_path)
    crd_files().check(tmp_path)
    script = (
        "from backstay.api.crds import crd_files; import sys; sys.stdout.write(''.join(crd_files().files.values()))"
    )
    again = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert again.stdout == "".join(crd_files().files.values())


@pytest.mark.parametrize("damage", ["changed", "missing", "foreign"])
def test_check_names_the_file_and_the_remedy_when_one_differs(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    crd_files().write(tmp_path)
    wrong = tmp_path / ("widgets.yaml" if damage == "foreign" else "holds.yaml")
    if damage == "missing":
        wrong.unlink()
    else:
        wrong.write_text(HEADER, encoding="utf-8")
    with pytest.raises(Drift, match=rf"{wrong.name}; run `python -m backstay\.api\.crds"):
        crd_files().check(tmp_path)
    assert main(["--check", str(tmp_path)]) == 1
    assert str(wrong) in capsys.readouterr().err


def test_main_repairs_the_directory_when_files_differ(tmp_path: Path) -> None:
    assert main(["--check", str(tmp_path)]) == 1
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name())
def test_every_part_is_bounded_described_and_structural(kind: type[Resource]) -> None:
    for branch in schema(kind)["properties"].keys() & {"spec", "status"}:
        for path, part in parts(schema(kind)["properties"][branch], branch):
            assert part.keys().isdisjoint({"$ref", "title", "const", "propertyNames", "oneOf"}), path
            assert part.get("description") or path.endswith("[]") or path == "status", f"{path} has no description"
            match part.get("type"):
                case "string":
                    assert part.keys() & {"maxLength", "enum", "format"}, f"{path} has no bound"
                case "array":
                    assert "maxItems" in part, f"{path} has no bound"
                    assert "x-kubernetes-list-type" in part, f"{path} does not say how it merges"
                case "object":
                    assert "properties" in part or "maxProperties" in part, f"{path} has no bound"
                    assert not ("properties" in part and "additionalProperties" in part), path
                case "integer":
                    assert "minimum" in part, f"{path} has no bound"
                case "boolean":
                    pass
                case None:
                    assert part["x-kubernetes-int-or-string"], path
                case other:
                    pytest.fail(f"{path} is of type {other}")


def test_defaults_stand_only_where_a_person_writes() -> None:
    for kind in KINDS:
        for path, part in parts(schema(kind)["properties"].get("status", {}), "status"):
            assert "default" not in part, f"{kind.kind_name()} {path}"


def test_text_follows_the_order_of_the_model() -> None:
    text = crd_files().files["releaseplans.yaml"]
    assert text.startswith(HEADER)
    assert list(yaml.safe_load(text)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]) == [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "status",
    ]
    assert list(schema(ReleasePlan)["properties"]["spec"]["properties"])[:2] == ["groups", "versions"]
