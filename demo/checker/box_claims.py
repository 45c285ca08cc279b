"""Act 7: a wrong model that Linux nodes pull back by replaying its golden samples, with the API server stopped."""

from typing import Final

from demo.checker.audit import Order
from demo.checker.box import STOPPED
from demo.checker.evidence import Evidence, Moment
from demo.checker.finding import Claim, Finding, all_of, answer_to, changed_flash, orders_of
from demo.checker.rollback_claims import frozen, paged, rolled_back

GOOD: Final = "3.0.0"
WRONG: Final = "3.1.0"
BY_REPLAY: Final = "ProbeFailed: replay"


def found_by_replay(evidence: Evidence) -> Finding:
    """Each node took the model, and by its own journal and the answers its replay of the samples is why it went back.

    One answer is enough: the operator may order all to go back before the other has come.
    """
    orders = orders_of(evidence, "model", WRONG)
    answers = [answer for order in orders if (answer := answer_to(evidence, order, "RolledBack"))]
    offenders = [f"{one.device} answered {one.reason}" for one in answers if not one.reason.startswith(BY_REPLAY)]
    offenders += [f"the journal of {o.device} does not say so" for o in orders if not _says_so(evidence.after, o)]
    ordered = {order.device for order in orders}
    offenders += [f"{name} was not ordered it" for name in set(evidence.after.boxes) - ordered]
    if not answers:
        offenders.append("no box answered that it went back")
    facts = f"{len(ordered)} boxes wrote {BY_REPLAY} into their journals, {len(answers)} answered it"
    return all_of("replaying golden samples found it", offenders, facts)


def nobody_to_ask(evidence: Evidence) -> Finding:
    """While the API server's process was stopped, each node had gone back already, by its journal, disk and Pod."""
    between = evidence.between
    offenders = []
    if between is None or between.server != STOPPED:
        offenders.append("nobody saw the API server stopped")
    for order in orders_of(evidence, "model", WRONG):
        box = between.boxes.get(order.device) if between else None
        if between is None or box is None or not _says_so(between, order):
            offenders.append(f"the journal of {order.device} did not say by then that it had gone back")
        elif box.content != evidence.contents["model"][GOOD] or box.serves != [GOOD]:
            offenders.append(f"{order.device} did not serve {GOOD} again by then")
    facts = f"its process was stopped, and by then {len(between.boxes) if between else 0} boxes served {GOOD} again"
    return all_of("they went back with no API server", offenders, facts)


def boxes_as_before(evidence: Evidence) -> Finding:
    """By the bytes on its disk, by its Pod and by its report, each node has the model from before."""
    wanted = evidence.contents["model"][GOOD]
    offenders = []
    for name, found in evidence.after.boxes.items():
        status = evidence.after.box_devices[name].get("status", {})
        told = status.get("planes", {}).get("model", {}).get("running", "")
        if found.content != wanted:
            offenders.append(f"the disk of {name} has {found.content[:19] or 'no model'}")
        if found.serves != [GOOD]:
            offenders.append(f"the Pod on {name} serves {', '.join(found.serves) or 'nothing'}")
        if told != wanted:
            offenders.append(f"{name} reports {told[:19] or 'nothing'}")
    return all_of("every box serves the model from before", offenders, f"{len(evidence.after.boxes)} Pods serve {GOOD}")


def cameras_untouched(evidence: Evidence) -> Finding:
    """No camera was ordered anything, and no flash changed."""
    offenders = [
        f"{o.device} was ordered {o.plane}" for o in evidence.history.orders if o.device in evidence.after.flash
    ]
    offenders += changed_flash(evidence, evidence.after.flash)
    facts = f"not one byte changed in {len(evidence.after.flash)} flash files"
    return all_of("no camera was touched", offenders, facts)


def _says_so(moment: Moment, order: Order) -> bool:
    """Whether the node's journal has that its replay undid this step."""
    words = f"step {order.number}, Install {WRONG}: RolledBack ({BY_REPLAY}"
    return any(entry["what"].startswith(words) for entry in moment.boxes[order.device].journal)


ACT_7: Final[tuple[Claim, ...]] = (
    found_by_replay,
    nobody_to_ask,
    boxes_as_before,
    rolled_back,
    lambda evidence: frozen(evidence, "model", WRONG),
    lambda evidence: paged(evidence, "model"),
    cameras_untouched,
)
