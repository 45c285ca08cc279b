"""Makes of helm/backstay what is said elsewhere already; `--check` fails where it is out of date.

From where to where:

    crds/*.yaml                        → templates/crds.yaml, which `helm uninstall` keeps
    manifests/rbac.yaml                → templates/rbac.yaml, in the release's namespace
    manifests/page/rbac.yaml           → templates/page-rbac.yaml, with `operator.page.enabled`
    manifests/admission.yaml           → templates/admission.yaml
    manifests/tenant/bridge-rbac.yaml  → templates/bridge-rbac.yaml, for each of `bridges`
    manifests/tenant/alert-holds-rbac.yaml
                                       → templates/alert-holds-rbac.yaml, for each of `operator.webhook.namespaces`
    manifests/monitoring/rules.yaml    → rules/backstay.yaml
    values.schema.json, values.yaml    → the table in README.md
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm" / "backstay"
Json = dict[str, Any]
COMMAND = "python scripts/chart.py"
LABELS = '    {{- include "backstay.labels" $ | nindent 4 }}\n'
KEPT = "    helm.sh/resource-policy: keep\n"
TABLE = ("<!-- values: made by scripts/chart.py -->\n", "<!-- end of values -->\n")
NAMESPACES = (
    "{{- $namespaces := list }}\n"
    "{{- range .Values.bridges }}{{ $namespaces = append $namespaces .namespace }}{{ end }}\n"
    "{{- range $namespace := uniq $namespaces }}\n"
)


def chart_files() -> dict[Path, str]:
    """Every file that is made, whole."""
    readme = CHART / "README.md"
    return {
        CHART / "templates" / "crds.yaml": crds(),
        CHART / "templates" / "rbac.yaml": rbac(),
        CHART / "templates" / "page-rbac.yaml": page_rbac(),
        CHART / "templates" / "admission.yaml": admission(),
        CHART / "templates" / "bridge-rbac.yaml": bridge_rbac(),
        CHART / "templates" / "alert-holds-rbac.yaml": alert_holds_rbac(),
        CHART / "rules" / "backstay.yaml": rules(),
        readme: with_table(readme.read_text(encoding="utf-8")),
    }


def crds() -> str:
    """The CustomResourceDefinitions, kept when the release goes."""
    found = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "crds").glob("*.yaml"))]
    inside = "---\n".join(_labelled(_escaped(_body(text)), annotations=KEPT) for text in found)
    return f"{_head('crds/')}{{{{- if .Values.crds.install }}}}\n---\n{inside}{{{{- end }}}}\n"


def rbac() -> str:
    """The operator's rights, in the release's namespace, which is there already."""
    documents = [text for text in _documents("manifests/rbac.yaml") if "\nkind: Namespace\n" not in text]
    return _head("manifests/rbac.yaml") + "---\n".join(_here(_labelled(_escaped(text))) for text in documents)


def page_rbac() -> str:
    """What the operator may for its page."""
    return _where("operator.page.enabled", "manifests/page/rbac.yaml")


def admission() -> str:
    """The admission policies, some of which may name the operator's own account."""
    return _where("admissionPolicies.install", "manifests/admission.yaml")


def _where(value: str, name: str) -> str:
    """A file as it is, where a value says so."""
    inside = "---\n".join(_here(_labelled(_escaped(text))) for text in _documents(name))
    return f"{_head(name)}{{{{- if .Values.{value} }}}}\n{inside}{{{{- end }}}}\n"


def bridge_rbac() -> str:
    """The bridges' rights: what is the same for all gateways of a namespace once, the rest for each of them."""
    documents = [_labelled(_escaped(text)) for text in _documents("manifests/tenant/bridge-rbac.yaml")]
    of_tenant = "".join(f"---\n{text}" for text in documents if "GATEWAY" not in text)
    of_gateway = "".join(f"---\n{text}" for text in documents if "GATEWAY" in text)
    return (
        _head("manifests/tenant/bridge-rbac.yaml")
        + NAMESPACES
        + of_tenant.replace("TENANT", "{{ $namespace }}")
        + "{{- end }}\n{{- range .Values.bridges }}\n"
        + of_gateway.replace("TENANT", "{{ .namespace }}").replace("GATEWAY", "{{ .gateway }}")
        + "{{- end }}\n"
    )


def alert_holds_rbac() -> str:
    """The right to lift what alerts made, for each namespace in which they may; for all at once where that is said."""
    name = "manifests/tenant/alert-holds-rbac.yaml"
    documents = [_here(_labelled(_escaped(text))) for text in _documents(name)]
    of_tenant = "".join(f"---\n{text}" for text in documents)
    of_all = of_tenant.replace("  namespace: TENANT\n", "").replace("kind: Role", "kind: ClusterRole")
    return (
        _head(name)
        + "{{- with .Values.operator.webhook }}\n{{- if .enabled }}\n"
        + '{{- if has "*" .namespaces }}\n'
        + of_all
        + "{{- else }}\n{{- range $namespace := uniq .namespaces }}\n"
        + of_tenant.replace("TENANT", "{{ $namespace }}")
        + "{{- end }}\n" * 4
    )


def rules() -> str:
    """The alerts, which the chart takes as they are: their braces are Prometheus's."""
    return _body((ROOT / "manifests" / "monitoring" / "rules.yaml").read_text(encoding="utf-8"))


def with_table(readme: str) -> str:
    """The README with its table of values as the schema and the values say now."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    found = _rows(schema, defaults, "", schema["$defs"])
    rows = "".join(f"| `{name}` | {default} | {meaning} |\n" for name, default, meaning in found)
    before, _, rest = readme.partition(TABLE[0])
    _, _, after = rest.partition(TABLE[1])
    return f"{before}{TABLE[0]}\n| value | default | meaning |\n|---|---|---|\n{rows}\n{TABLE[1]}{after}"


def _rows(schema: Json, default: Any, name: str, shared: Json) -> Iterator[tuple[str, str, str]]:  # noqa: ANN401  any JSON
    for key, written in schema.get("properties", {}).items():
        inner = shared.get(written.get("$ref", "").removeprefix("#/$defs/"), {}) | written
        path = f"{name}.{key}" if name else key
        value = default.get(key) if isinstance(default, dict) else None
        if "description" in inner:
            yield path, _shown(value, inner), _one_line(inner)
        yield from _rows(inner, value, path, shared)
        if isinstance(items := inner.get("items"), dict) and "properties" in items:
            yield from _rows(items, None, f"{path}[]", shared)


def _shown(value: Any, schema: Json) -> str:  # noqa: ANN401  any JSON
    found = schema.get("default") if value is None else value
    return "" if found is None or found == "" or "properties" in schema else f"`{json.dumps(found)}`"


def _one_line(schema: Json) -> str:
    allowed = [f"`{value}`" for value in schema.get("enum", ()) if value != ""]
    return schema["description"].replace("|", "\\|") + (f" One of {', '.join(allowed)}." if allowed else "")


def _documents(name: str) -> list[str]:
    """The documents of a file, without the comment that tells how to apply it."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [f"{part.rstrip()}\n" for part in _body(text).split("\n---\n")]


def _body(text: str) -> str:
    """A file without the comment at its beginning."""
    return re.sub(r"\A(?:#.*\n)+", "", text)


def _escaped(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def _labelled(document: str, annotations: str = "") -> str:
    """A document with the chart's labels; it has none of its own."""
    if re.search(r"^  (labels|annotations):", document, re.MULTILINE):
        sys.exit(f"this has labels or annotations of its own, which the chart would lose:\n{document}")
    more = f"  labels:\n{LABELS}" + (f"  annotations:\n{annotations}" if annotations else "")
    metadata = re.compile(r"^metadata:\n(?:  \w+: .*\n)+", re.MULTILINE)
    return metadata.sub(lambda found: found[0] + more, document, count=1)


def _here(document: str) -> str:
    """A document in which the release's namespace is the operator's."""
    return document.replace("backstay-system", "{{ $.Release.Namespace }}")


def _head(source: str) -> str:
    return f"{{{{- /* Made of {source} by `{COMMAND}`; do not edit. */ -}}}}\n"


def main() -> None:
    """Write the files, or say which are out of date."""
    for path, text in chart_files().items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path} is out of date: {COMMAND}")


if __name__ == "__main__":
    main()
