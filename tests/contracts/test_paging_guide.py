"""The guide to paging, carried out as it stands: its commands, its rule, and the Hold that comes of it."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import yaml

from backstay.core.actions import AlertKind
from backstay.web import alert_hold
from backstay.web.alert_hold import DEFAULT_LASTS, LONGEST, hold_document
from backstay.web.alert_payload import Alert
from backstay.web.bearer import TokenFile
from tests.guides import blocks

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "how-to" / "page-people.md").read_text(encoding="utf-8")
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_commands_of_the_guide_work(tmp_path: Path) -> None:
    (tmp_path / "manifests").symlink_to(ROOT / "manifests")
    script = "set -e\n" + "".join(blocks(GUIDE, "sh"))
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "on-call"
    token = (tmp_path / "token").read_text().strip()
    assert TokenFile(tmp_path / "token").admits([f"Bearer {token}"])


def test_rule_of_the_guide_makes_the_hold_that_it_says(tmp_path: Path) -> None:
    (written,) = blocks(GUIDE, "yaml")
    (tmp_path / "rules.yaml").write_text(written)
    subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yaml"], check=True, capture_output=True)
    (rule,) = yaml.safe_load(written)["groups"][0]["rules"]
    annotations = {key: text.replace("{{ $labels.site }}", "hall-1") for key, text in rule["annotations"].items()}
    labels = {"alertname": rule["alert"], "namespace": "acme", "site": "hall-1", **rule["labels"]}
    alert = Alert(status="firing", labels=labels, annotations=annotations, fingerprint="3f9c2a71d0e4b586")
    assert hold_document(alert, NOON)["spec"] == {
        "scope": {"selector": {"matchLabels": {"site": "hall-1"}}},
        "inFlight": "Return",
        "reason": "alert VisionAccuracyLow: Cameras at hall-1 see the wrong things",
        "until": "2026-01-05T14:00:00Z",
    }


def test_guide_names_every_page_every_field_and_its_limits() -> None:
    fields = {
        value for value in vars(alert_hold).values() if isinstance(value, str) and value.startswith("backstay_hold")
    }
    assert set(re.findall(r"^\| `(backstay_hold\w*)` \|", GUIDE, re.MULTILINE)) == fields
    assert {kind.value for kind in AlertKind} <= set(re.findall(r"`(\w+)`", GUIDE))
    hours = {f"{int(length.total_seconds()) // 3600}h" for length in (DEFAULT_LASTS, LONGEST)}
    assert hours <= set(re.findall(r"`(\w+)`", GUIDE))
