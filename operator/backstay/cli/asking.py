"""`backstay approve`, `retry`, `rollback`, `resume` and `pause`: what a person asks of a plan, and what it answers.

A request is two annotations on the plan; the API server lets them pass from who may (docs/how-to/ask-and-hold.md).
"""

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from backstay.cli import names
from backstay.cli.caller import (
    Caller,
    DryRun,
    DryRunOption,
    KubeconfigOption,
    NamespaceOption,
    PatienceOption,
    YesOption,
    agreed,
)
from backstay.cli.program import program

if TYPE_CHECKING:
    from backstay.adapters.kube.client import KubeClient
    from backstay.api.releaseplan import ReleasePlan
    from backstay.core.requests import Verb

REFUSED: Final = "RequestRefused"
POLL_SECONDS: Final = 0.3

PlanArgument = Annotated[str, typer.Argument(help="Name of the ReleasePlan.", autocompletion=names.plans)]


def approve(
    plan: PlanArgument,
    ring: Annotated[
        str | None,
        typer.Argument(help="The ring that may start; without it the one that waits.", autocompletion=names.rings),
    ] = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    patience: PatienceOption = 30.0,
) -> None:
    """Let a ring start that waits for approval.

    Ends with status 1 where the operator refuses it.
    """
    from backstay.core.requests import Verb

    asyncio.run(_asked(Verb.APPROVE, plan, Caller(namespace, kubeconfig, dry_run), patience, ring=ring))


def retry(
    plan: PlanArgument,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    patience: PatienceOption = 30.0,
) -> None:
    """Order the devices again that failed; of a revision that went back, start its versions anew."""
    from backstay.core.requests import Verb

    asyncio.run(_asked(Verb.RETRY, plan, Caller(namespace, kubeconfig, dry_run), patience))


def rollback(
    plan: PlanArgument,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    patience: PatienceOption = 30.0,
    yes: YesOption = False,
) -> None:
    """Take the whole revision back, plane by plane, whatever its signals say. Nothing is frozen."""
    from backstay.core.requests import Verb

    asyncio.run(_asked(Verb.ROLLBACK, plan, Caller(namespace, kubeconfig, dry_run), patience, yes=yes))


def resume(
    plan: PlanArgument,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
    patience: PatienceOption = 30.0,
) -> None:
    """Go on with a plan that is paused, or that has halted; the failures so far are accepted then."""
    asyncio.run(_resumed(plan, Caller(namespace, kubeconfig, dry_run), patience))


def pause(
    plan: PlanArgument,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    dry_run: DryRunOption = DryRun.NONE,
) -> None:
    """Let nothing new start in a plan's name; what has begun ends by itself, and going back is never paused."""
    asyncio.run(_paused(plan, Caller(namespace, kubeconfig, dry_run)))


async def _asked(
    verb: "Verb", name: str, caller: Caller, patience: float, *, ring: str | None = None, yes: bool = True
) -> None:
    async with caller.connected() as (kube, namespace):
        plan = await _read(kube, namespace, name)
        if not yes and not caller.only_tries:
            phase = plan.status.phase or "Pending"
            agreed(f"Take back revision {plan.status.revision} of {namespace}/{name} ({phase}), on every device?")
        if caller.only_tries:
            await _ask(kube, namespace, plan, verb, ring)
            print(f"{verb} of {name} {plan.status.revision} would be let pass (server dry run); nothing was asked")
            return
        await _ask_and_wait(kube, namespace, plan, verb, ring, patience)


async def _resumed(name: str, caller: Caller, patience: float) -> None:
    from backstay.api.releaseplan_status import RevisionPhase
    from backstay.core.requests import Verb
    from backstay.errors import Refused

    async with caller.connected() as (kube, namespace):
        plan = await _read(kube, namespace, name)
        if plan.spec.paused:
            await _pause(kube, namespace, name, paused=False)
            print(f"{name} {'would be' if caller.only_tries else 'is'} paused no more")
        if plan.status.phase is RevisionPhase.HALTED and caller.only_tries:
            await _ask(kube, namespace, plan, Verb.RESUME, None)
            print(f"{name} {plan.status.revision} would go on")
        elif plan.status.phase is RevisionPhase.HALTED:
            await _ask_and_wait(kube, namespace, plan, Verb.RESUME, None, patience)
        elif not plan.spec.paused:
            words = f"`{program()} why {name} -n {namespace}` says what it waits for"
            raise Refused(f"{name} is neither paused nor halted; {words}")


async def _paused(name: str, caller: Caller) -> None:
    async with caller.connected() as (kube, namespace):
        await _pause(kube, namespace, name, paused=True)
    if caller.only_tries:
        print(f"{name} would be paused (server dry run); it goes on")
    else:
        print(f"{name} is paused; `{program()} resume {name} -n {namespace}` lets it go on")


async def _pause(kube: "KubeClient", namespace: str, name: str, *, paused: bool) -> None:
    from backstay.adapters.kube.client import RELEASE_PLANS

    await kube.merge_patch(RELEASE_PLANS, name, {"spec": {"paused": paused}}, namespace)


async def _ask_and_wait(
    kube: "KubeClient", namespace: str, plan: "ReleasePlan", verb: "Verb", ring: str | None, patience: float
) -> None:
    text = await _ask(kube, namespace, plan, verb, ring)
    print(await _answer(kube, namespace, plan.metadata.name, text, patience) if patience else f"asked: {text}")


async def _ask(kube: "KubeClient", namespace: str, plan: "ReleasePlan", verb: "Verb", ring: str | None) -> str:
    """Write a request about the revision that was seen, and return its text.

    Raises:
        BackstayError: the plan has no revision, is another one by now, or the caller may not ask.
    """
    from backstay.adapters.kube.client import RELEASE_PLANS, SELF_SUBJECT_REVIEWS
    from backstay.errors import Refused

    name, revision = plan.metadata.name, plan.status.revision
    if not revision:
        raise Refused(f"{name} has no revision yet; `{program()} why {name} -n {namespace}` says why")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    caller = (await kube.create(SELF_SUBJECT_REVIEWS, review))["status"]["userInfo"]["username"]
    nonce = f"{int(time.time())}-{secrets.token_hex(3)}"
    text = f"{verb}@{revision}/{ring or _waiting_ring(plan)}/{nonce}"
    annotations = {"backstay.dev/request": text, "backstay.dev/requested-by": caller}
    # The uid: a plan that was deleted and made anew under its name is another one.
    body = {"metadata": {"uid": plan.metadata.uid, "annotations": annotations}}
    await kube.merge_patch(RELEASE_PLANS, name, body, namespace)
    return text


async def _answer(kube: "KubeClient", namespace: str, name: str, text: str, patience: float) -> str:
    """How the operator answers a request.

    Raises:
        Refused: it refuses it.
        Unavailable: it does not answer in time.
    """
    from backstay.errors import Refused, Unavailable

    end = time.monotonic() + patience
    while time.monotonic() < end:
        status = (await _read(kube, namespace, name)).status
        if status.last_handled_request == text and (said := status.request_answer) is not None:
            if said.reason == REFUSED:
                raise Refused(f"{text.partition('@')[0]} was refused: {said.message}")
            return f"{said.reason}: {said.message}"
        await asyncio.sleep(POLL_SECONDS)
    words = "the request stands, and is answered once the operator runs; see status.requestAnswer"
    raise Unavailable(f"the operator has not answered {text} within {patience:g} s: {words} of {namespace}/{name}")


async def _read(kube: "KubeClient", namespace: str, name: str) -> "ReleasePlan":
    from backstay.adapters.kube.client import RELEASE_PLANS
    from backstay.api.releaseplan import ReleasePlan

    return ReleasePlan.from_document(await kube.get(RELEASE_PLANS, name, namespace))


def _waiting_ring(plan: "ReleasePlan") -> str:
    """The ring that a request is about when its caller named none: the next one, which is what waits for approval."""
    from backstay.api.releaseplan_status import RevisionPhase

    names = [ring.name for ring in plan.status.rings]
    if not names:
        return "-"
    if plan.status.phase in (None, RevisionPhase.PENDING) or plan.status.ring not in names:
        return names[0]
    return names[min(names.index(plan.status.ring) + 1, len(names) - 1)]
