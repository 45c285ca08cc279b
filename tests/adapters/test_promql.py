"""What a rule may read is decided here: the wall between tenants, from both sides."""

import time
from datetime import UTC, datetime

import promql_parser
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from promql_parser import Expr, VectorSelector

from backstay.adapters import promql
from backstay.adapters.promql import MOST_OPERATIONS, QueryRefused, resolve

SCOPED = "backstay_device_info{${scope}}"
OWN = 'namespace="acme"'
SINCE = datetime(2025, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def resolved(query: str, **changes: str | bool | datetime | None) -> str:
    asked = {"namespace": "acme", "plan": "vision", "revision": "3f9c-2", "ring": "canary"} | changes
    return resolve(query, **asked)


def selectors(text: str) -> list[VectorSelector]:
    found: list[VectorSelector] = []

    def visit(node: Expr) -> None:
        if isinstance(node, VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(text), pre_visit=visit)
    return found


def matchers(selector: VectorSelector) -> set[tuple[str, str, str]]:
    return {(m.name, str(m.op).rpartition(".")[2], m.value) for m in selector.matchers.matchers}


# What it makes of queries


def test_resolve_scopes_the_info_series_when_it_looks_at_a_ring():
    query = f"avg(backstay_inference_accuracy * on(namespace, device) group_left() {SCOPED})"
    assert resolved(query) == (
        f"avg(backstay_inference_accuracy{{{OWN}}} * on (namespace, device) group_left () "
        f'backstay_device_info{{{OWN},plan="vision",revision="3f9c-2",ring="canary"}})'
    )


def test_resolve_scopes_the_whole_revision_when_there_is_no_ring():
    text = f'backstay_device_info{{{OWN},plan="vision",revision="3f9c-2"}}'
    assert resolved(SCOPED, ring=None) == text


@pytest.mark.parametrize("ring", ["canary", None])
def test_resolve_takes_the_plans_other_devices_when_it_looks_at_the_baseline(ring):
    text = f'backstay_device_info{{{OWN},plan="vision",revision!="3f9c-2"}}'
    assert resolved(SCOPED, ring=ring, baseline=True) == text


def test_resolve_keeps_other_matchers_when_they_stand_beside_the_scope():
    (info,) = selectors(resolved('backstay_device_info{region="eu", ${scope}, customer!~"a|b"}'))
    assert {("region", "Equal", "eu"), ("customer", "NotRe", "a|b"), ("ring", "Equal", "canary")} <= matchers(info)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"m + {SCOPED}", 2),
        (f"rate(m[5m] offset 3m) * on() {SCOPED}", 2),
        (f"max_over_time(rate(m[1m])[5m:10s] @ 12 offset 2m) * on() {SCOPED}", 2),
        (f"max_over_time((m * on(device) {SCOPED})[5m:])", 2),
        (f'{{__name__="m"}} and {{__name__=~"m.*", x="y"}} or {SCOPED}', 3),
        (f"topk(scalar(limit), m) and on() {SCOPED}", 3),
        (f'label_replace(m, "a", "$1", "b", "(.*)") unless -(m) * on() {SCOPED}', 3),
        (f'count_values("v", absent(m)) + on() {SCOPED} + on() {SCOPED}', 3),
        (f'quantile by (device) (0.9, m{{}}) > bool 1 == on() {SCOPED} # m{{x="y"}}', 2),
        ('{"backstay_device_info", ${scope}}', 1),
        (f'{{__name__="sum", namespace!~"x"}} % on() {SCOPED}', 2),
    ],
)
def test_resolve_confines_every_selector_when_they_are_nested(query, expected):
    found = selectors(resolved(query))
    assert len(found) == expected
    assert all(("namespace", "Equal", "acme") in matchers(selector) for selector in found)


def test_resolve_keeps_ranges_and_times_when_it_rebuilds_a_selector():
    text = resolved(f"max_over_time(rate(m[1m] offset -5s)[5m:10s] @ 12.5 offset 2m) * on() {SCOPED}")
    assert text.startswith(f"max_over_time(rate(m{{{OWN}}}[1m] offset -5s)[5m:10s] @ 12.500 offset 2m)")


def test_resolve_leaves_a_rule_empty_handed_when_it_names_another_tenant():
    first = selectors(resolved(f'm{{namespace="other"}} * on() {SCOPED}'))[0]
    assert {("namespace", "Equal", "other"), ("namespace", "Equal", "acme")} <= matchers(first)


def test_resolve_fits_on_one_line_when_the_query_is_long():
    text = resolved(" + on(device) ".join(f'metric_number_{n}{{path="a\\n  b"}}' for n in range(20)) + f" * {SCOPED}")
    assert "\n" not in text
    assert ("path", "Equal", "a\n  b") in matchers(selectors(text)[0])


def test_resolve_reads_past_a_comment_when_it_holds_a_quote():
    assert resolved(f'm + {SCOPED} # "').startswith(f"m{{{OWN}}} + ")


# The time at which the watch began


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("m > ${since}", f"m{{{OWN}}} > 1740830400.250"),
        ("time() - ${since}", "time() - 1740830400.250"),
        ("vector(-${since})", "vector(-1740830400.250)"),
        ("max(m) > bool ${since} + ${since}", f"max(m{{{OWN}}}) > bool 1740830400.250 + 1740830400.250"),
    ],
)
def test_resolve_puts_the_time_where_it_is_asked_for(query, expected):
    assert resolved(f"{query} + on() {SCOPED}", since=SINCE).startswith(f"{expected} + on ()")


def test_resolve_leaves_texts_alone_when_they_hold_what_stands_for_the_time():
    text = resolved(f'm{{x="7000000000.125"}} > ${{since}} + on() {SCOPED}', ring="7000000001.125", since=SINCE)
    assert 'x="7000000000.125"' in text
    assert 'ring="7000000001.125"' in text
    assert "> 1740830400.250 +" in text


def test_resolve_parses_a_query_once_when_only_the_time_differs():
    query = f"m > ${{since}} + on() {SCOPED} + on() parsed_once"
    before = promql._resolved.cache_info()
    texts = {resolved(query, since=SINCE.replace(second=second)) for second in range(5)}
    after = promql._resolved.cache_info()
    assert (len(texts), after.misses - before.misses) == (5, 1)


def test_resolve_refuses_when_the_watch_has_no_beginning():
    with pytest.raises(QueryRefused, match="no watch that began"):
        resolved(f"m > ${{since}} + on() {SCOPED}")


@pytest.mark.parametrize(
    "query",
    [
        'm{x="${since}"}',
        'label_replace(m, "a", "${since}", "b", "")',
        "m[${since}:]",
        "rate(m[${since}])",
        "m offset ${since}",
        "m @ ${since}",
        "m > 1${since}",
        "m > ${since}1",
        "m > ${since}e3",
        "m${since}",
        "m{${since}}",
        "m # ${since}\n",
        "sum by (${since}) (m)",
        "${since}${since}",
    ],
)
def test_resolve_refuses_a_time_when_no_number_can_stand_there(query):
    with pytest.raises(QueryRefused):
        resolved(f"{query} + on() {SCOPED}", since=SINCE)


# What it refuses


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("avg(m)", "lacks ${scope}"),
        ("avg(m", "lacks ${scope}"),
        (f"avg(m + {SCOPED}", "cannot be parsed: unclosed left parenthesis"),
        (f'm{{x=~"["}} + {SCOPED}', "cannot be parsed: illegal regex"),
        ("m{${scope}}", "stands in the selector of m;"),
        ("{${scope}}", "stands in the selector of no one metric;"),
        ('{__name__=~"backstay_device_info", ${scope}}', "stands in the selector of no one metric;"),
        ('{__name__!="backstay_device_info", ${scope}}', "stands in the selector of no one metric;"),
        ("backstay_device_info_2{${scope}}", "stands in the selector of backstay_device_info_2;"),
        (f"{SCOPED} * on() m{{${{scope}}}}", "stands in the selector of m;"),
        ('m{x="${scope}"}', "does not stand in a selector"),
        ("sum by (${scope}) (m)", "does not stand in a selector"),
        ("backstay_device_info ${scope}", "does not stand in a selector"),
        ('backstay_device_info{${scope}="x"}', "does not stand in a selector"),
        ("backstay_device_info # {${scope}}", "in a comment"),
        ("backstay_device_info{x='{${scope}}'}", "in a text"),
        ('backstay_device_info{${scope}, __backstay_scope__="here"}', "reserved label"),
        (f'm{{a="b" or c="d"}} * on() {SCOPED}', "joins matchers by `or`"),
        ('backstay_device_info{${scope} or c="d"}', "does not stand|joins matchers"),
        (f"m offset 1e400 + {SCOPED}", "too big"),
        (f"info(m) * on() {SCOPED}", "calls info()"),
    ],
)
def test_resolve_says_what_is_wrong_when_it_refuses_a_query(query, words):
    with pytest.raises(QueryRefused) as refused:
        resolved(query)
    assert any(word in str(refused.value) for word in words.split("|")), refused.value


@pytest.mark.parametrize(
    "nested",
    [
        "abs(" * 900 + SCOPED + ")" * 900,
        SCOPED + "^m" * 1500,
        "-" * 4000 + SCOPED,
        SCOPED + ' and on() m{x="#"}' * 200,
        '# "\n' + "(" * 1900 + SCOPED + ")" * 1900 + '# "',
    ],
)
def test_resolve_refuses_at_once_when_a_query_would_keep_the_parser_busy(nested):
    started = time.monotonic()
    with pytest.raises(QueryRefused, match=f"{MOST_OPERATIONS} is the most"):
        resolved(nested)
    assert time.monotonic() - started < 0.5


def test_resolve_counts_no_operations_when_they_stand_in_texts():
    texts = ", ".join(f'l{n}=~"(a|b)+-*/%^<>and or"' for n in range(20))
    assert OWN in resolved(f"m{{{texts}}} * on() {SCOPED}")


# Laws

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        '"',
        "\\",
        '"}',
        '"} or {x="',
        "\n",
        '\n"',
        "'",
        "`",
        "${scope}",
        "{{",
        "}}",
        '",x="',
        "\\n",
        "\x00",
        "\u2028",
        "é",
    ]
)
NAMES = st.sampled_from(["m", "up", "backstay_device_info", "a:b", "sum", "rate"])
LABELS = st.sampled_from(["x", "device", "namespace", "or", "le"])


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@st.composite
def selectors_of_rules(draw) -> str:
    pairs = draw(st.lists(st.tuples(LABELS, st.sampled_from(["=", "!="]), TEXTS), max_size=3))
    inside = ", ".join(f"{label}{operator}{quoted(text)}" for label, operator, text in pairs)
    modifier = draw(st.sampled_from(["", " offset 5m", " @ 12", " @ end() offset -1m"]))
    if draw(st.booleans()):
        return f"{draw(NAMES)}{{{inside}}}{modifier}"
    return f"{{__name__={quoted(draw(NAMES))}, {inside}}}{modifier}"


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("sum by (device) ({})".format, inner),
        st.builds("topk(scalar({}), {})".format, inner, inner),
        st.builds("-({})".format, inner),
        st.builds("({}) * on(device) group_left(x) ({})".format, inner, inner),
        st.builds("({}) or ignoring(x) ({})".format, inner, inner),
        st.builds("max_over_time(({})[5m:1m] offset 1h)".format, inner),
        st.builds('label_replace({}, "x", "$1", "y", "(.*)")'.format, inner),
        st.builds("absent({}) > bool 3".format, inner),
    )


RULES = st.recursive(
    selectors_of_rules() | st.just(SCOPED) | st.builds("rate({}[5m])".format, st.just("m{x='y'}")),
    combined,
    max_leaves=6,
)


@given(RULES, TEXTS.filter(bool), TEXTS, TEXTS, st.none() | TEXTS, st.booleans())
@example("m", 'acme"} or {namespace="other', "p", "r", None, False)
def test_law_every_selector_is_confined(rule, namespace, plan, revision, ring, baseline):
    query = f"({rule}) * on(device) {SCOPED}"
    try:
        text = resolve(query, namespace=namespace, plan=plan, revision=revision, ring=ring, baseline=baseline)
    except QueryRefused:
        # Only a placeholder inside of a generated text.
        if "${scope}" not in rule.replace(SCOPED, ""):
            raise
        return
    before, after = selectors(query.replace("${scope}", 'marked="yes"')), selectors(text)
    scope = {("plan", "Equal", plan)}
    scope |= {("revision", "NotEqual" if baseline else "Equal", revision)}
    scope |= {("ring", "Equal", ring)} if ring is not None and not baseline else set()
    for old, new in zip(before, after, strict=True):
        asked = matchers(old)
        if ("marked", "Equal", "yes") in asked:
            asked = asked - {("marked", "Equal", "yes")} | scope
        assert matchers(new) == asked | {("namespace", "Equal", namespace)}
        assert (new.name, new.offset, str(new.at), new.matchers.or_matchers) == (
            old.name,
            old.offset,
            str(old.at),
            [],
        )


@given(st.text(st.sampled_from("m{}()[]\"'`\\,=~!#${scope} or\n+by5:@"), max_size=40))
def test_law_nonsense_is_refused_or_confined(noise):
    query = f"{SCOPED} + {noise}"
    try:
        text = resolved(query)
    except QueryRefused:
        return
    assert all(("namespace", "Equal", "acme") in matchers(selector) for selector in selectors(text))
