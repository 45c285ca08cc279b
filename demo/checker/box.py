"""What a Linux node has on its own disk, and what its Pod says; the API server is not asked for it."""

import hashlib
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 10.0
STOPPED: Final = "T"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BoxBytes:
    """One node."""

    content: str
    """The digest of the model file that whoever reads it finds, computed here; empty where there is none."""
    journal: list[Json]
    """What the agent wrote down as it happened: `at`, `plane`, `what`."""
    serves: list[str]
    """The versions that the Pod says it serves."""


def read_box(data: Path, url: str) -> BoxBytes:
    """Look at a node."""
    return BoxBytes(_content(data / "model" / "current" / "current" / "model.bin"), _journal(data), _serves(url))


def server_state(audit_log: Path) -> str:
    """The state of the API server that writes this log, as the kernel has it: T is stopped; empty where there is none.

    Source: proc(5), field 3 of `stat`.
    """
    found = [_state(process) for process in Path("/proc").glob("[0-9]*") if _writes(process, audit_log)]
    return found[0] if len(found) == 1 else ""


def _writes(process: Path, audit_log: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"kube-apiserver") and f"--audit-log-path={audit_log}".encode() in words


def _state(process: Path) -> str:
    return (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]


def _content(file: Path) -> str:
    try:
        return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    except OSError:
        return ""


def _journal(data: Path) -> list[Json]:
    try:
        lines = (data / "state" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [json.loads(line) for line in lines]


def _serves(url: str) -> list[str]:
    try:
        with urllib.request.urlopen(f"{url}/v2/models/digits", timeout=SECONDS) as answer:  # noqa: S310 - ours
            return [str(version) for version in json.load(answer)["versions"]]
    except (urllib.error.URLError, TimeoutError, ValueError, KeyError):
        return []
