"""A cluster made by kind, where Docker runs: the other way to get one, by the same commands.

It has not been tried with a real kind, because there is no Docker where this project is tested; what is tested is that
it is asked as its documentation says, and that what it made is used and deleted.

Source: https://kind.sigs.k8s.io/docs/user/quick-start/
"""

import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from backstay.errors import Refused
from backstay.sandbox.command import CommandFailed, run_watched
from backstay.sandbox.process import ComponentFailed
from backstay.sandbox.progress import Progress, Report

READY: Final = "180s"
NAME: Final = "kind-cluster"
KUBECONFIG: Final = "kind.kubeconfig"
NEEDED: Final = ("docker", "kind")


def create(directory: Path, report: Report) -> Path:
    """Make a cluster for the sandbox in `directory`, and return the administrator's kubeconfig.

    Raises:
        Refused: kind or Docker is missing, or Docker does not run.
        ComponentFailed: kind could not make the cluster; nothing of it is left.
    """
    if missing := [program for program in NEEDED if shutil.which(program) is None]:
        raise Refused(
            f"--cluster kind needs {' and '.join(missing)}, not found here: install them, or leave --cluster out for a "
            "cluster of the sandbox's own, which needs neither"
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _run(directory, ("docker", "info"), "looking for Docker", report)
    except CommandFailed as error:
        raise Refused(f"--cluster kind needs Docker, which does not answer: {error}") from error
    name = f"backstay-{sha256(str(directory).encode()).hexdigest()[:8]}"
    # Written first, so that whatever becomes of this process `down` knows what to delete.
    (directory / NAME).write_text(f"{name}\n", encoding="utf-8")
    kubeconfig = directory / KUBECONFIG
    command = ("kind", "create", "cluster", "--name", name, "--kubeconfig", str(kubeconfig), "--wait", READY)
    try:
        _run(directory, command, f"making cluster {name} with kind", report)
    except CommandFailed as error:
        delete(directory, report)
        raise ComponentFailed(str(error)) from error
    return kubeconfig


def delete(directory: Path, report: Report) -> None:
    """Delete the cluster that `create` made for this sandbox; without one nothing happens.

    Raises:
        ComponentFailed: it is there still.
    """
    record = directory / NAME
    if not record.exists():
        return
    name = record.read_text(encoding="utf-8").strip()
    command = ("kind", "delete", "cluster", "--name", name, "--kubeconfig", str(directory / KUBECONFIG))
    try:
        _run(directory, command, f"deleting cluster {name}", report)
    except CommandFailed as error:
        raise ComponentFailed(str(error)) from error
    for path in (directory / KUBECONFIG, record):
        path.unlink(missing_ok=True)


def _run(directory: Path, command: Sequence[str], what: str, report: Report) -> None:
    run_watched(command, directory / "kind.log", Progress(report, what))
