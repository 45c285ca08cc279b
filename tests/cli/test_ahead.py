"""`backstay plan` and `backstay simulate` as people run them."""

import json
import subprocess
import sys
from pathlib import Path

from tests.simulate.rollout.releases import PLAN

BACKSTAY = Path(sys.executable).with_name("backstay")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BACKSTAY, *arguments], capture_output=True, text=True, timeout=60)


def written(directory: Path, text: str = PLAN) -> str:
    file = directory / "plan.yaml"
    file.write_text(text)
    return str(file)


def test_plan_prints_rings_paths_and_how_long_it_takes(tmp_path: Path) -> None:
    done = run("plan", written(tmp_path), "--fleet", "50")
    assert done.returncode == 0, done.stderr
    for words in ("canary", "everyone", "then model", "nothing refuses it; at best it has succeeded after"):
        assert words in done.stdout


def test_plan_ends_with_status_3_when_it_would_be_refused(tmp_path: Path) -> None:
    done = run("plan", written(tmp_path, PLAN.replace("min: 2,", "min: 60,")), "--fleet", "50", "-o", "json")
    assert done.returncode == 3
    assert "its gate needs 60" in json.loads(done.stdout)["refusals"][0]


def test_simulate_tells_the_story_and_draws_it(tmp_path: Path) -> None:
    picture = tmp_path / "exposure.svg"
    done = run("simulate", written(tmp_path), "--fleet", "50", "--faults", "silent-model", "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    for words in (
        "[RollingBack]",
        "freezes model 3.0.0: Convicted",
        "of these, on a bad version",
        "was detected after",
    ):
        assert words in done.stdout
    assert picture.read_text().startswith("<svg")


def test_simulate_gives_json_to_scripts(tmp_path: Path) -> None:
    done = run("simulate", written(tmp_path), "--fleet", "50", "-o", "json")
    found = json.loads(done.stdout)
    assert (found["phase"], found["devices"], found["mostBad"]) == ("Succeeded", 50, 0)
    assert [ring["confirmed"] for ring in found["rings"]] == [2, 48]


def test_simulate_refuses_a_fault_by_name(tmp_path: Path) -> None:
    done = run("simulate", written(tmp_path), "--fleet", "50", "--faults", "bad-camera")
    assert done.returncode == 1
    assert done.stderr.startswith("error: 'bad-camera': there is no fault bad-camera")


def test_plan_refuses_a_file_without_a_plan(tmp_path: Path) -> None:
    done = run("plan", written(tmp_path, "kind: List\nitems: []\n"), "--fleet", "50")
    assert done.returncode == 1
    assert "holds 0 ReleasePlans" in done.stderr
