"""`backstay hold` and `backstay lift`: stop changes, and let them go on."""

import asyncio
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay.cli import names
from backstay.cli.caller import (
    Caller,
    DryRun,
    DryRunOption,
    KubeconfigOption,
    NamespaceOption,
    YesOption,
    agreed,
)
from backstay.cli.output import Output, OutputOption, show
from backstay.cli.program import program
from backstay.core.planes import Plane

if TYPE_CHECKING:
    from backstay.adapters.kube.client import KubeClient

CONVICTION: Final = "backstay.dev/conviction"
_SOME_DIGEST: Final = f"sha256:{'0' * 64}"


def hold(
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for the person who finds it at night.")],
    everything: Annotated[bool, typer.Option("--all", help="Stop every device of the namespace.")] = False,
    group: Annotated[
        list[str] | None,
        typer.Option(help="Stop the devices of this DeviceGroup; repeatable.", autocompletion=names.groups),
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Stop this device; repeatable.", autocompletion=names.devices)
    ] = None,
    customer: Annotated[str | None, typer.Option(help="Stop the devices with this label customer.")] = None,
    region: Annotated[str | None, typer.Option(help="Stop the devices with this label region.")] = None,
    site: Annotated[str | None, typer.Option(help="Stop the devices with this label site.")] = None,
    hardware: Annotated[str | None, typer.Option(help="Stop the devices with this label hardware.")] = None,
    selector: Annotated[
        list[str] | None, typer.Option("--selector", "-l", help="Stop the devices with label KEY=VALUE; repeatable.")
    ] = None,
    version: Annotated[
        list[str] | None,
        typer.Option(
            help="Let nobody install PLANE=VERSION, or where that is not enough PLANE=sha256:… (the content's); "
            "repeatable."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the Hold; without it one is made up.")] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="How long, such as 2h; without it until lifted.")] = None,
    back: Annotated[
        bool, typer.Option("--return", help="Devices that are changing already go back to what they ran before.")
    ] = False,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    output: OutputOption = Output.TEXT,
) -> None:
    """Stop changes: of some devices, of a version, or both. No device is kept from going back.

    Nothing new starts in its scope within a second, also while the operator is down.
    """
    from backstay.adapters.system_clock import SystemClock
    from backstay.errors import Refused

    labels = {"customer": customer, "region": region, "site": site, "hardware": hardware}
    wanted = {key: value for key, value in labels.items() if value is not None} | _pairs(selector or [], "--selector")
    scopes: list[dict[str, Any]] = []
    if everything:
        scopes.append({"selector": {}})
    if group:
        scopes.append({"groups": group})
    if device:
        scopes.append({"devices": device})
    if wanted:
        scopes.append({"selector": {"matchLabels": wanted}})
    versions = [{"plane": plane, "digest": digest} for plane, digest in map(_version, version or [])]
    match scopes, versions:
        case [], []:
            raise Refused("say what to stop: --all, --group, --device, --site … for devices, --version for a version")
        case [_, _, *_], _:
            raise Refused("--all, --group, --device and labels exclude each other: make one hold for each")
        case _:
            pass
    spec: dict[str, Any] = {"reason": reason} | ({"scope": scopes[0]} if scopes else {})
    spec |= ({"versions": versions} if versions else {}) | ({"inFlight": "Return"} if back else {})
    if lasts is not None:
        spec["until"] = _end(SystemClock().now(), lasts)
    document = _document(name or f"hold-{secrets.token_hex(3)}", spec)
    asyncio.run(_held(document, Caller(namespace, kubeconfig, dry_run), output))


def lift(
    name: Annotated[str, typer.Argument(help="Name of the Hold.", autocompletion=names.holds)],
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    yes: YesOption = False,
) -> None:
    """Delete a hold. Held devices follow through their rings; a frozen version may be shipped again.

    Asks first where the hold freezes a version that was found guilty.
    """
    asyncio.run(_lifted(name, Caller(namespace, kubeconfig, dry_run), yes=yes))


async def _held(document: dict[str, Any], caller: Caller, output: Output) -> None:
    from backstay.adapters.kube.client import HOLDS

    async with caller.connected() as (kube, where):
        told = [await _named(kube, where, one) for one in document["spec"].get("versions", ())]
        made = await kube.create(HOLDS, document, where)
    name = document["metadata"]["name"]

    def text() -> None:
        for line in filter(None, told):
            print(line)
        if caller.only_tries:
            print(f"hold {name} would be made (server dry run); nothing was stopped")
        else:
            print(f"hold {name} stands; `{program()} lift {name} -n {where}` lifts it")

    show(output, lambda: made, text, [f"hold.backstay.dev/{name}"])


async def _named(kube: "KubeClient", namespace: str, version: dict[str, str]) -> str:
    """Put the digest in the place of a version's name; what is told of it."""
    from semver import Version

    from backstay.cli.versions import content_of

    plane, name = version["plane"], version["digest"]
    if plane not in set(Plane) or not Version.is_valid(name):
        return ""
    version["digest"] = await content_of(kube, namespace, Plane(plane), name)
    return f"{plane} {name} is {version['digest']}"


async def _lifted(name: str, caller: Caller, *, yes: bool) -> None:
    from backstay.adapters.kube.client import HOLDS
    from backstay.api.hold import Hold

    async with caller.connected() as (kube, where):
        found = Hold.from_document(await kube.get(HOLDS, name, where))
        if CONVICTION in found.metadata.labels and not (yes or caller.only_tries):
            agreed(f"{found.spec.reason}\nLet this version be shipped again?")
        await kube.delete(HOLDS, name, where)
    if caller.only_tries:
        print(f"hold {name} could be lifted (server dry run); it stands")
    else:
        print(f"hold {name} is lifted")


def _document(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The hold with just what was said, checked as far as no cluster is needed for it.

    Raises:
        InvalidDocument: naming the field.
    """
    from semver import Version

    from backstay.api.hold import Hold

    document = {"apiVersion": "backstay.dev/v1alpha1", "kind": "Hold", "metadata": {"name": name}, "spec": spec}
    by_digest = [
        one | {"digest": _SOME_DIGEST} if Version.is_valid(one["digest"]) else one for one in spec.get("versions", ())
    ]
    Hold.from_document(document | {"spec": spec | ({"versions": by_digest} if by_digest else {})})
    return document


def _version(text: str) -> tuple[str, str]:
    ((plane, digest),) = _pairs([text], "--version").items()
    return plane, digest


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    from backstay.errors import Refused

    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise Refused(f"{option} {text}: write KEY=VALUE")
        if found.setdefault(key, value) != value:
            raise Refused(f"{option} {key} stands twice, with {found[key]} and {value}")
    return found


def _end(now: datetime, lasts: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from backstay.api.durations import parse_duration
    from backstay.api.scalars import Duration
    from backstay.errors import Refused

    try:
        length = parse_duration(TypeAdapter(Duration).validate_python(lasts))
    except ValidationError as error:
        raise Refused(f"--for {lasts}: write a duration such as 90m or 2h30m") from error
    if length <= timedelta(0):
        raise Refused(f"--for {lasts}: a hold that is over already stops nothing")
    return (now + length).isoformat(timespec="seconds").replace("+00:00", "Z")
