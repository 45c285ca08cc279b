"""Whoever sits at the command line: which cluster and namespace they mean, who they are there, and their word."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backstay.cli import names

if TYPE_CHECKING:
    from backstay.adapters.kube.client import KubeClient


class DryRun(StrEnum):
    """What `--dry-run` takes, in kubectl's words."""

    NONE = "none"
    SERVER = "server"


NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace to work in; without it the kubeconfig's, or default.",
        autocompletion=names.namespaces,
    ),
]
KubeconfigOption = Annotated[
    Path | None, typer.Option(help="Identity to use; without it $KUBECONFIG, or ~/.kube/config.")
]
DryRunOption = Annotated[
    DryRun, typer.Option("--dry-run", help="With server, the API server checks it all, and nothing is changed.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether you mean it.")]


def seconds(text: str | float) -> float:
    """How long somebody waits: a number of seconds, or a duration as Kubernetes writes it."""
    from pydantic import TypeAdapter, ValidationError

    from backstay.api.durations import parse_duration
    from backstay.api.scalars import Duration

    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return parse_duration(TypeAdapter(Duration).validate_python(text)).total_seconds()
    except ValidationError as error:
        message = f"{text} is neither a number of seconds nor a duration such as 90s or 10m"
        raise typer.BadParameter(message) from error


PatienceOption = Annotated[
    float,
    typer.Option(
        "--timeout", parser=seconds, metavar="DURATION", help="How long to wait for the answer; 0 does not wait."
    ),
]


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a command works, and as whom."""

    namespace: str | None
    kubeconfig: Path | None
    dry_run: DryRun = DryRun.NONE

    @property
    def only_tries(self) -> bool:
        """Whether nothing is to be changed."""
        return self.dry_run is DryRun.SERVER

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple["KubeClient", str]]:
        """Connect as kubectl would; gives the client and the namespace that is meant.

        Raises:
            Refused: there is no kubeconfig, or it cannot be used.
        """
        from backstay.adapters.kube.client import KubeClient

        found = kubeconfig_of_caller(self.kubeconfig)
        async with KubeClient.connect(found, field_manager="backstay-cli", dry_run=self.only_tries) as kube:
            yield kube, self.namespace or context_namespace(found)


def kubeconfig_of_caller(chosen: Path | None) -> Path:
    """The kubeconfig that kubectl would take: the chosen one, `$KUBECONFIG`, or the one at home."""
    return chosen or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")


def context_namespace(kubeconfig: Path) -> str:
    """The namespace that the present context of a kubeconfig names, or `default`.

    Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files
    """
    documents = [document for path in _files(kubeconfig) if (document := _document(path)) is not None]
    current = next((name for document in documents if (name := document.get("current-context"))), None)
    contexts = (context for document in documents for context in document.get("contexts") or ())
    mine = next((one.get("context") or {} for one in contexts if one.get("name") == current), {})
    return str(mine.get("namespace") or "default")


def agreed(question: str) -> None:
    """Ask whether what cannot be undone is meant.

    Raises:
        Refused: nobody can be asked.
        typer.Abort: it is not meant.
    """
    from backstay.errors import Refused

    if not sys.stdin.isatty():
        raise Refused(f"{question} Nobody can be asked here: say --yes if you mean it")
    typer.confirm(question, abort=True, err=True)


def _files(kubeconfig: Path) -> Iterator[Path]:
    return (path for part in str(kubeconfig).split(os.pathsep) if part and (path := Path(part)).is_file())


def _document(path: Path) -> dict[str, Any] | None:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        # Whoever connects with it says what is wrong with it.
        return None
    return found if isinstance(found, dict) else None
