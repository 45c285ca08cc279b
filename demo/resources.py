"""What a person applies: the group, the health rule, the plan in its revisions, and the hold of the last act."""

from typing import Any, Final

import yaml

from demo.artifacts import Artifact
from demo.boxes import LABELS
from demo.fleet import NAMESPACE

Json = dict[str, Any]

API_VERSION: Final = "backstay.dev/v1alpha1"
PLAN: Final = "vision"
GROUP: Final = "digit-cameras"
RULE: Final = "inference"
HOLD: Final = "stock-taking"
BOX_PLAN: Final = "assembly-line"
BOX_GROUP: Final = "digit-boxes"
BOX_RULE: Final = "box-inference"
BOX_WINDOW: Final = "10s"
LOWEST_ACCURACY: Final = "0.80"
PERSON: Final = "release-engineer"
AUDITOR: Final = "auditor"
SYSTEM: Final = "backstay-system"
_JOIN: Final = "* on(namespace, device) group_left() backstay_device_info{${scope}}"


def group() -> Json:
    """Every camera of the fleet."""
    return _object("DeviceGroup", GROUP, {"selector": {"matchLabels": {"app": "digit-camera"}}})


def health_rule() -> Json:
    """What healthy means: on a ring, by Prometheus, and on a device before it confirms.

    No probe looks at how often the model is right: only the signal does.
    """
    accuracy = {
        "name": "accuracy",
        "blames": ["model", "config"],
        "query": f"avg(backstay_inference_accuracy {_JOIN})",
        "min": LOWEST_ACCURACY,
        "failureLimit": 2,
    }
    latency = {
        "name": "latency",
        "blames": ["model", "firmware"],
        "query": f"max(backstay_inference_latency_seconds {_JOIN})",
        "max": "0.250",
        "failureLimit": 3,
    }
    probes = [
        {"name": "agent", "kind": "AgentConnected", "blames": ["firmware"]},
        {"name": "camera", "kind": "InputPresent", "input": "camera0", "blames": ["firmware", "config"]},
        {"name": "inference", "kind": "InferenceAlive", "blames": ["model", "config"]},
    ]
    return _object("HealthRule", RULE, {"interval": "1s", "signals": [accuracy, latency], "probes": probes})


def plan(*versions: Artifact, rehearses: bool = False) -> Json:
    """The plan with these versions; times are short, because a demo is.

    With a rehearsal, the laboratory proves that going back works before any customer's camera changes.
    """
    internal = {
        "name": "internal",
        "select": {"matchLabels": {"audience": "internal"}},
        "soak": "2s",
        "inFlight": "100%",
    }
    spec = {
        "groups": [GROUP],
        "versions": {str(each.plane): {"version": each.version, "artifact": each.reference} for each in versions},
        "health": [RULE],
        "success": {"confirmed": "98%"},
        "rings": [
            {**internal, "rehearsal": {"devices": 1, "breakOne": True}} if rehearses else internal,
            {"name": "canary", "size": "5%", "min": 3, "soak": "4s", "inFlight": "100%"},
            {"name": "tenth", "size": "10%", "min": 3, "soak": "4s", "inFlight": "100%"},
            {"name": "eu", "select": {"matchLabels": {"region": "eu"}}, "soak": "2s", "inFlight": "50%"},
            {"name": "everyone", "size": "100%", "soak": "2s", "inFlight": "50%"},
        ],
        "deadlines": {"firmware": "60s", "model": "45s", "config": "45s"},
        "confirmWindow": {"firmware": "20s", "model": "20s", "config": "20s"},
        "rollback": {"verify": "3s"},
        "stabilityWindow": "2s",
    }
    return _object("ReleasePlan", PLAN, spec)


def box_group() -> Json:
    """Both boxes of the assembly line."""
    return _object("DeviceGroup", BOX_GROUP, {"selector": {"matchLabels": LABELS}})


def box_health_rule() -> Json:
    """What a box asks of itself before it confirms a model; nobody but the box is needed for it."""
    probes = [
        {"name": "served", "kind": "InferenceReady", "blames": ["model"]},
        {"name": "replay", "kind": "SampleReplay", "minAgreement": "95%", "maxLatency": "1s", "blames": ["model"]},
    ]
    return _object("HealthRule", BOX_RULE, {"probes": probes})


def box_plan(model: Artifact) -> Json:
    """A model for the boxes, both at once."""
    spec = {
        "groups": [BOX_GROUP],
        "versions": {"model": {"version": model.version, "artifact": model.reference}},
        "health": [BOX_RULE],
        "rings": [{"name": "line", "size": "100%", "soak": "1s", "inFlight": "100%"}],
        "deadlines": {"model": "60s"},
        "confirmWindow": {"model": BOX_WINDOW},
        "rollback": {"verify": "2s"},
        "stabilityWindow": "1s",
    }
    return _object("ReleasePlan", BOX_PLAN, spec)


def hold(customer: str) -> Json:
    """A person's order that nothing new starts on one customer's devices."""
    spec = {
        "scope": {"selector": {"matchLabels": {"customer": customer}}},
        "reason": f"{customer} takes stock and wants no change on its cameras",
    }
    return _object("Hold", HOLD, spec)


def people() -> list[Json]:
    """Two accounts that are no administrators: one who releases, and one who may only look."""
    kinds = ["releaseplans", "devicegroups", "healthrules", "holds"]
    look = {"apiGroups": ["backstay.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
    write = {"apiGroups": ["backstay.dev"], "resources": kinds, "verbs": ["create", "update", "patch", "delete"]}
    told = {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["get", "list", "watch"]}
    return [*_account(PERSON, [look, write, told]), *_account(AUDITOR, [look]), *_looks_into_the_system()]


def documents(*objects: Json) -> str:
    """The objects as one YAML text."""
    return yaml.safe_dump_all(objects, sort_keys=False)


def _looks_into_the_system() -> list[Json]:
    """What the auditor may see of the operator itself."""
    seen = {"": "pods", "apps": "deployments", "coordination.k8s.io": "leases"}
    rules = [{"apiGroups": [group], "resources": [kind], "verbs": ["get", "list"]} for group, kind in seen.items()]
    return _granted(AUDITOR, SYSTEM, rules)


def _account(name: str, rules: list[Json]) -> list[Json]:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}}
    return [account, *_granted(name, NAMESPACE, rules)]


def _granted(account: str, namespace: str, rules: list[Json]) -> list[Json]:
    """What an account of the tenant's namespace may do in a namespace."""
    metadata, group_name = {"name": account, "namespace": namespace}, "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{group_name}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": f"{group_name}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group_name, "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
        },
    ]


def _object(kind: str, name: str, spec: Json) -> Json:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
