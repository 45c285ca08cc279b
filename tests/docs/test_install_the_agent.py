"""What the guide to the agent says to put on a node, read by whoever will read it there."""

import shlex
import subprocess
from pathlib import Path

from backstay.adapters.node.unit_syntax import settings
from backstay.cli.agent_run import parser
from tests.guides import blocks

GUIDE = (Path(__file__).parents[2] / "docs" / "how-to" / "install-the-agent.md").read_text(encoding="utf-8")


def test_unit_starts_the_agent_with_options_that_it_has_and_reports_to_the_watchdog() -> None:
    (unit,) = blocks(GUIDE, "ini")
    found = {(one.section, one.key): one.value for one in settings(unit)}
    program, *words = shlex.split(found["Service", "ExecStart"])
    asked = parser().parse_args(words[2:])
    assert (Path(program).name, words[:2]) == ("backstay", ["agent", "run"])
    assert (asked.server, asked.firmware, asked.pod) == ("https://k3s.example:6443", "pod", "vision")
    assert found["Service", "Type"] == "notify", "without it systemd heeds neither READY nor the watchdog"
    assert int(found["Service", "WatchdogSec"]) > 0


def test_scrape_job_is_one_that_prometheus_takes(tmp_path: Path) -> None:
    _, job = blocks(GUIDE, "yaml")
    (tmp_path / "prometheus.yml").write_text(f"scrape_configs:\n{job}")
    subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True)
    assert "labels: {namespace: acme, device: box-1}" in job, "the job says whose series they are, and not the node"
