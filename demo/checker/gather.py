"""How the checker asks the systems: kubectl, HTTP, the audit log and the flash files."""

import json
import os
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any, Final

from demo.checker.audit import History, read_history
from demo.checker.box import STOPPED, read_box, server_state
from demo.checker.context import ACT_OF_THE_PLATFORM, Context, Platform
from demo.checker.evidence import Evidence, Moment, Reading
from demo.checker.flash import read_flash
from demo.checker.installed import Installed, committed, read_picture, rings_shown

Json = dict[str, Any]
SECONDS: Final = 30.0
OPERATOR: Final = "backstay-operator"
AS_JSON: Final = ("create", "--dry-run=client", "--output=json", "-f", "-")
IN_SYSTEM: Final = ("--namespace=backstay-system",)


class Unanswered(Exception):
    """A system did not answer, so nothing can be judged."""


def look(context: Context, act: int = 0) -> Moment:
    """See how everything stands, and the plan of an act; the boxes alone while the API server is stopped."""
    boxes = {name: read_box(Path(found["data"]), found["url"]) for name, found in context.boxes.items()}
    server = server_state(context.audit_log)
    if server == STOPPED:
        return Moment(_now(), {}, [], {}, {}, [], boxes, {}, server)
    every = {found["metadata"]["name"]: found for found in _objects(context, "edgedevices")}
    devices = {name: found for name, found in every.items() if name not in context.boxes}
    plan = context.plan_of(act)
    plans = [found for found in _objects(context, "releaseplans") if found["metadata"]["name"] == plan]
    return Moment(
        at=_now(),
        plan=plans[0] if plans else {},
        holds=_objects(context, "holds"),
        devices=devices,
        flash={name: read_flash(context.flash / f"{name}.flash") for name in sorted(devices)},
        alerts=_http(f"{context.alertmanager}/api/v2/alerts"),
        boxes=boxes,
        box_devices={name: every[name] for name in context.boxes},
        server=server,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()


def gather(context: Context, act: int, before: Moment, between: Moment | None) -> Evidence:
    """Find out everything about an act that has just ended."""
    after = look(context, act)
    history = read_history(context.audit_log, context.namespace, context.plan_of(act), before.at, after.at)
    return Evidence(
        act=act,
        contents=context.contents(),
        before=before,
        after=after,
        between=between,
        history=history,
        readings=_readings(context, history),
        accuracy=_lowest_accuracy(context, before.at, after.at),
        running=_running(context),
        installed=_installed(context) if act == ACT_OF_THE_PLATFORM else None,
    )


def _installed(context: Context) -> Installed | None:
    platform = context.platform
    if platform is None:
        return None
    commit, plan = committed(platform.repository, platform.plan_file)
    return Installed(
        image=platform.image,
        holder=_kubectl(context, "get", "lease", OPERATOR, *IN_SYSTEM, "--output=jsonpath={.spec.holderIdentity}"),
        deployment=json.loads(_kubectl(context, "get", "deployment", OPERATOR, *IN_SYSTEM, "--output=json")),
        pods=json.loads(_kubectl(context, "get", "pods", *IN_SYSTEM, "--output=json"))["items"],
        commit=commit,
        committed=json.loads(_kubectl(context, *AS_JSON, given=plan)) if plan else {},
        shown=rings_shown(_page(context, platform, f"/{context.namespace}/plans/{context.plan}")),
        pictures={name: read_picture(file) for name, file in platform.pictures.items()},
    )


def _page(context: Context, platform: Platform, path: str) -> str:
    """The page as whoever checks may see it; its certificate is verified."""
    token = _kubectl(context, "config", "view", "--raw", "--output=jsonpath={.users[0].user.token}")
    asked = urllib.request.Request(platform.page + path, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - ours
    trusted = ssl.create_default_context(cafile=str(platform.ca))
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS, context=trusted) as answer:  # noqa: S310 - https alone
            return str(answer.read().decode())
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise Unanswered(f"{platform.page}{path}: {error}") from error


def _readings(context: Context, history: History) -> list[Reading]:
    """Each verdict once, with the ring that the plan was in when it was first recorded."""
    found: dict[tuple[str, str], Reading] = {}
    for status in history.plan:
        for verdict in status.verdicts:
            key = (verdict["signal"], verdict["at"])
            if key not in found:
                said = verdict.get("value")
                found[key] = Reading(
                    verdict["signal"], verdict["result"], verdict["at"], status.ring,
                    None if said is None else float(said), _ask_again(context, verdict),
                )  # fmt: skip
    return sorted(found.values(), key=lambda reading: reading.at)


def _ask_again(context: Context, verdict: Json) -> float | None:
    if not verdict.get("query"):
        return None
    result = _prometheus(context, "query", query=verdict["query"], time=verdict["at"])
    return float(result[0]["value"][1]) if len(result) == 1 else None


def _lowest_accuracy(context: Context, since: str, until: str) -> dict[str, float]:
    query = f'backstay_inference_accuracy{{namespace="{context.namespace}"}}'
    found = _prometheus(context, "query_range", query=query, start=since, end=until, step="1s")
    values = {series["metric"]["device"]: [float(value) for _, value in series["values"]] for series in found}
    return {device: min(seen) for device, each in values.items() if (seen := [v for v in each if not isnan(v)])}


def _running(context: Context) -> dict[str, int]:
    info = f'backstay_device_info{{namespace="{context.namespace}",plan="{context.plan}"}}'
    found = _prometheus(context, "query", query=f"count by (firmware, model, config) ({info})")
    return {
        "/".join(series["metric"].get(plane, "") for plane in ("firmware", "model", "config")): int(series["value"][1])
        for series in found
    }


def _objects(context: Context, kind: str) -> list[Json]:
    told = _kubectl(context, f"--namespace={context.namespace}", "get", f"{kind}.backstay.dev", "--output=json")
    items: list[Json] = json.loads(told)["items"]
    for item in items:
        item["metadata"].pop("managedFields", None)
    return items


def _kubectl(context: Context, *words: str, given: str | None = None) -> str:
    """What kubectl prints."""
    command = (str(context.kubectl), f"--kubeconfig={context.kubeconfig}", *words)
    cache = {**os.environ, "KUBECACHEDIR": str(context.evidence / "kubectl-cache")}
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=SECONDS, check=False, env=cache
        )
    except subprocess.TimeoutExpired as error:
        raise Unanswered(f"kubectl did not answer within {SECONDS:.0f} s") from error
    if done.returncode != 0:
        raise Unanswered(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _prometheus(context: Context, path: str, **parameters: str) -> list[Json]:
    answer = _http(f"{context.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
    result: list[Json] = answer["data"]["result"]
    return result


def _http(url: str) -> Any:  # noqa: ANN401 - JSON
    if not url.startswith("http://127.0.0.1:"):
        raise Unanswered(f"{url} is not on this machine")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - the scheme was looked at
            return json.load(answer)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise Unanswered(f"{url}: {error}") from error
