"""Act 8: helm installed the operator as a Pod, a plan came out of Git, and the page showed what is so."""

from typing import Any, Final

from demo.checker.evidence import Evidence
from demo.checker.finding import Claim, Finding, all_of, time_of
from demo.checker.installed import Installed
from demo.checker.release_claims import (
    BETTER,
    everyone_runs,
    no_restart,
    promoted_on_accuracy,
    ring_after_ring,
    succeeded,
)

LATER: Final = {**BETTER, "config": "1.2.0"}
RELEASE: Final = {"meta.helm.sh/release-name": "backstay", "meta.helm.sh/release-namespace": "backstay-system"}
SUBJECT: Final = "Release config 1.2.0"
WIDE: Final = 1000
DRAWN: Final = 30_000
"""A window of one colour takes some thousand bytes, the page of a plan a hundred thousand."""
NOTHING: Final = Installed(
    image="", holder="", deployment={}, pods=[], commit="", committed={}, shown={}, pictures={"succeeded": None}
)


def installed_by_helm(evidence: Evidence) -> Finding:
    """The Deployment is one of helm's, all of it is available, and its image is the one that was pushed."""
    found = _installed(evidence)
    metadata, spec, status = (found.deployment.get(part, {}) for part in ("metadata", "spec", "status"))
    annotations, available = metadata.get("annotations", {}), status.get("availableReplicas", 0)
    offenders = [f"{name} is {annotations.get(name)}" for name in RELEASE if annotations.get(name) != RELEASE[name]]
    if not available or available != spec.get("replicas"):
        offenders.append(f"{available} of {spec.get('replicas')} Pods are available")
    containers = spec.get("template", {}).get("spec", {}).get("containers", ())
    offenders += [f"the image is {one['image']}" for one in containers if not one["image"].endswith(f"@{found.image}")]
    return all_of("helm installed the operator", offenders, f"release backstay, with the image {found.image[:19]}")


def a_pod_leads(evidence: Evidence) -> Finding:
    """A Pod that is ready has the Lease, and by the API server its token was the one that every order came with."""
    found = _installed(evidence)
    ready = [pod["metadata"]["name"] for pod in found.pods if _is_ready(pod)]
    leaders = [name for name in ready if found.holder.startswith(name)]
    orders = evidence.history.orders
    offenders = [
        f"{order.device} was ordered by {order.by}, {order.pod or 'no Pod'}"
        for order in orders
        if order.pod not in leaders
    ]
    if not leaders:
        offenders.append(
            f"the Lease has {found.holder or 'nobody'}, and the ready Pods are {', '.join(ready) or 'none'}"
        )
    if not orders:
        offenders.append("there was no order")
    return all_of("a Pod leads, and gave every order", offenders, f"{', '.join(leaders)}, {len(orders)} orders")


def from_git(evidence: Evidence) -> Finding:
    """All that the newest commit says of the plan, the API server's plan says too."""
    found = _installed(evidence)
    spec, committed = evidence.after.plan.get("spec", {}), found.committed.get("spec", {})
    offenders = [
        f"the commit has {name}: {value!r}" for name, value in committed.items() if not _covers(spec.get(name), value)
    ]
    if not committed:
        offenders.append("there is no plan in it")
    if found.commit != SUBJECT:
        offenders.append(f"the newest commit is {found.commit or 'none'}")
    return all_of("the plan is the one in Git", offenders, f"the API server has what was committed as “{found.commit}”")


def page_agrees(evidence: Evidence) -> Finding:
    """Every ring has the same figures on the page as at the API server."""
    rings = evidence.after.plan.get("status", {}).get("rings", ())
    wanted = {ring["name"]: f"{ring.get('confirmed', 0)}/{ring.get('target', 0)}" for ring in rings}
    shown = _installed(evidence).shown
    offenders = [
        f"ring {name} is {figures}, and shown as {shown.get(name)}"
        for name, figures in wanted.items()
        if shown.get(name) != figures
    ]
    if not wanted:
        offenders.append("the plan has no ring")
    return all_of("the page shows what the API server has", offenders, ", ".join(f"{n} {f}" for n, f in shown.items()))


def drawn(evidence: Evidence) -> Finding:
    """Each picture was taken in the act, is as wide as a window, and has something on it."""
    offenders, since = [], time_of(evidence.before.at).timestamp()
    pictures = _installed(evidence).pictures
    for name, picture in pictures.items():
        if picture is None:
            offenders.append(f"there is no picture {name}")
        elif picture.taken < since:
            offenders.append(f"picture {name} is older than the act")
        elif picture.width < WIDE or picture.drawn < DRAWN:
            offenders.append(f"picture {name} is {picture.width} wide, with {picture.drawn} bytes drawn")
    sizes = [f"{name} {one.width}x{one.height}" for name, one in pictures.items() if one]
    return all_of("a browser drew it", offenders, f"pictures of Chromium: {', '.join(sizes)}")


def _installed(evidence: Evidence) -> Installed:
    return evidence.installed or NOTHING


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _covers(whole: object, part: object) -> bool:
    """Whether all of a part is in the whole, which may have more: what the API server fills in."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(_covers(whole.get(name), value) for name, value in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(_covers, whole, part))
    return whole == part


ACT_8: Final[tuple[Claim, ...]] = (
    installed_by_helm,
    a_pod_leads,
    from_git,
    lambda evidence: everyone_runs(evidence, LATER),
    ring_after_ring,
    no_restart,
    promoted_on_accuracy,
    succeeded,
    page_agrees,
    drawn,
)
