"""Health rules' queries, confined to the plan that asks: what a rule may read is decided on the parsed query.

`${scope}` becomes the selector of the devices that are looked at, and every selector of the query, wherever it stands,
gets the plan's namespace. A rule that names another namespace has two that exclude each other, and finds nothing.
`${since}` becomes the time at which the watch began, as a number.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import Final

import promql_parser
from promql_parser import Call, Expr, Matcher, Matchers, MatchOp, NumberLiteral, VectorSelector

from backstay.errors import Refused

INFO: Final = "backstay_device_info"
PLACEHOLDER: Final = "${scope}"
SINCE: Final = "${since}"
MOST_OPERATIONS: Final = 64
"""The parser's time grows with the cube of a query's depth, and a depth takes an operation."""

_MARK: Final = "__backstay_scope__"
_MARKER: Final = f'{_MARK}="here"'
_SCOPE_PLACE: Final = f"it may only stand by itself in the selector of {INFO}, as {INFO}{{{PLACEHOLDER}}}"
_SINCE_PLACE: Final = f"it stands where a number stands, as in backstay_last_report_timestamp_seconds > {SINCE}"
_FIRST_SINCE_MARK: Final = 7_000_000_000
_ALONE: Final = re.compile(r"[{,]\s*\$\{scope\}(?=\s*[,}])")
_OPERATORS: Final = ((MatchOp.Equal, "="), (MatchOp.NotEqual, "!="), (MatchOp.Re, "=~"), (MatchOp.NotRe, "!~"))
_CLASSIC_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TEXT_OR_COMMENT: Final = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*""", re.DOTALL)
_BRACES: Final = re.compile(r"\{[^{}]*\}")
_OPERATION: Final = re.compile(r"[-+*/%^<>(\[]|[!=]=|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)


class QueryRefused(Refused):
    """A health rule's query is wrong, or asks for more than a rule may see."""


def resolve(
    query: str,
    *,
    namespace: str,
    plan: str,
    revision: str,
    ring: str | None,
    since: datetime | None = None,
    baseline: bool = False,
) -> str:
    """The query as Prometheus gets it: on one line, scoped, and confined to the namespace.

    The scope is the revision's devices, of one ring or of all that took part; the baseline is the plan's devices that
    are on another revision.

    Raises:
        QueryRefused: it cannot be parsed, lacks `${scope}`, has it anywhere but in a selector of the info series, has
            `${since}` where no number can stand or without a time to put there, or reads series in a way that no
            selector shows.
    """
    mark = _since_mark(query, namespace, plan, revision, ring or "")
    text = _resolved(query, namespace, plan, revision, ring, baseline=baseline, mark=mark)
    if SINCE not in query:
        return text
    if since is None:
        raise QueryRefused(f"the query has {SINCE}, and here is no watch that began at a time")
    return text.replace(mark, f"{since.timestamp():.3f}")


def _since_mark(*texts: str) -> str:
    """A number that stands in none of these texts, so that it can be told from everything else that is in a query."""
    candidates = (f"{number}.125" for number in count(_FIRST_SINCE_MARK))
    return next(mark for mark in candidates if not any(mark in text for text in texts))


@lru_cache(maxsize=1024)
def _resolved(
    query: str, namespace: str, plan: str, revision: str, ring: str | None, *, baseline: bool, mark: str
) -> str:
    """The query with everything in its place but the time, which is another one in every watch."""
    _check_size(query)
    _check_placeholders(query)
    scope = _scope(plan, revision, ring, baseline=baseline)
    with _panics_refused(query):
        tree = _parse(query.replace(PLACEHOLDER, _MARKER).replace(SINCE, mark), query)
        _check_tree(tree, query)
        _check_since(tree, query, float(mark))
        text = _on_one_line(_confined(tree, scope, Matcher(MatchOp.Equal, "namespace", namespace)))
        _check_confined(text, namespace)
    return text


@contextmanager
def _panics_refused(query: str) -> Iterator[None]:
    """The parser panics at a few odd numbers; that is no `Exception`, and one tenant's query would end the process."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise QueryRefused(f"the query cannot be parsed: {error}; it reads: {query}") from error


def _check_size(query: str) -> None:
    """Count what nests, as the lexer would see it, before the parser has to."""
    bare = _BRACES.sub("", _TEXT_OR_COMMENT.sub("", query))
    found = sum(1 for _ in _OPERATION.finditer(bare))
    if found > MOST_OPERATIONS:
        raise QueryRefused(
            f"the query has {found} operations, and {MOST_OPERATIONS} is the most: "
            "compute parts of it with recording rules, and query those"
        )


def _check_placeholders(query: str) -> None:
    if PLACEHOLDER not in query:
        raise QueryRefused(f"the query lacks {PLACEHOLDER}: join it with {INFO}{{{PLACEHOLDER}}}")
    if len(_ALONE.findall(query)) != query.count(PLACEHOLDER):
        raise QueryRefused(f"{PLACEHOLDER} does not stand in a selector; {_SCOPE_PLACE}")


def _parse(text: str, query: str) -> Expr:
    try:
        return promql_parser.parse(text)
    except ValueError as error:
        raise QueryRefused(f"the query cannot be parsed: {error}; it reads: {query}") from error


def _check_tree(tree: Expr, query: str) -> None:
    selectors = _selectors(tree)
    for selector in selectors:
        _check_selector(selector)
    marks = sum(_is_mark(matcher) for selector in selectors for matcher in selector.matchers.matchers)
    if marks != query.count(PLACEHOLDER):
        raise QueryRefused(f"{PLACEHOLDER} stands in a text, in a comment or beside a reserved label; {_SCOPE_PLACE}")


def _check_since(tree: Expr, query: str, mark: float) -> None:
    numbers = 0

    def visit(node: Expr) -> None:
        nonlocal numbers
        # A minus before a number is read as a part of it.
        numbers += isinstance(node, NumberLiteral) and abs(node.val) == mark

    promql_parser.walk(tree, pre_visit=visit)
    if numbers != query.count(SINCE):
        raise QueryRefused(
            f"{SINCE} stands in a text, in a comment, in a duration, after @ or beside other digits; {_SINCE_PLACE}"
        )


def _check_selector(selector: VectorSelector) -> None:
    if selector.matchers.or_matchers:
        raise QueryRefused(
            f"the selector {selector.prettify()} joins matchers by `or`, which would also join the namespace; "
            "write two selectors joined by `or` instead"
        )
    metric = _metric(selector)
    if metric != INFO and any(_is_mark(matcher) for matcher in selector.matchers.matchers):
        raise QueryRefused(f"{PLACEHOLDER} stands in the selector of {metric or 'no one metric'}; {_SCOPE_PLACE}")


def _metric(selector: VectorSelector) -> str | None:
    named = (m.value for m in selector.matchers.matchers if m.name == "__name__" and m.op == MatchOp.Equal)
    return selector.name or next(named, None)


def _selectors(tree: Expr) -> list[VectorSelector]:
    found: list[VectorSelector] = []

    def visit(node: Expr) -> None:
        if isinstance(node, VectorSelector):
            found.append(node)
        elif isinstance(node, Call) and node.func.name == "info":
            raise QueryRefused("the query calls info(), which reads series that no selector names; join them instead")

    promql_parser.walk(tree, pre_visit=visit)
    return found


def _is_mark(matcher: Matcher) -> bool:
    return matcher.name == _MARK


def _scope(plan: str, revision: str, ring: str | None, *, baseline: bool) -> tuple[Matcher, ...]:
    of_plan = Matcher(MatchOp.Equal, "plan", plan)
    if baseline:
        return of_plan, Matcher(MatchOp.NotEqual, "revision", revision)
    of_revision = Matcher(MatchOp.Equal, "revision", revision)
    if ring is None:
        return of_plan, of_revision
    return of_plan, of_revision, Matcher(MatchOp.Equal, "ring", ring)


def _confined(tree: Expr, scope: Iterable[Matcher], own: Matcher) -> Expr:
    def confine(node: Expr) -> Expr | None:
        return _rebuilt(node, scope, own) if isinstance(node, VectorSelector) else None

    return promql_parser.transform(tree, post_visit=confine)


def _rebuilt(selector: VectorSelector, scope: Iterable[Matcher], own: Matcher) -> Expr:
    matchers: list[Matcher] = []
    for matcher in selector.matchers.matchers:
        matchers.extend(scope if _is_mark(matcher) else (matcher,))
    matchers.append(own)
    # The library renders a selector without escaping its values, so only the part without any is taken from it.
    name, selector.name, selector.matchers = selector.name, None, Matchers([])
    modifiers = str(selector).removeprefix("{}")
    text = f"{name or ''}{{{','.join(map(_rendered, matchers))}}}{modifiers}"
    return _parse(text, text)


def _rendered(matcher: Matcher) -> str:
    label = matcher.name if _CLASSIC_LABEL.fullmatch(matcher.name) else _quoted(matcher.name)
    operator = next(text for found, text in _OPERATORS if found == matcher.op)
    return f"{label}{operator}{_quoted(matcher.value)}"


def _quoted(text: str) -> str:
    # What JSON escapes, PromQL reads alike, as long as everything beyond ASCII stays itself.
    return json.dumps(text, ensure_ascii=False)


def _on_one_line(tree: Expr) -> str:
    # No line breaks inside of a text: the library writes line feeds there as \n.
    line = ""
    for part in map(str.strip, tree.prettify().split("\n")):
        is_close = not line or line.endswith("(") or part.startswith(")")
        line += part if is_close else f" {part}"
    return line


def _check_confined(text: str, namespace: str) -> None:
    """Read the finished text as Prometheus will: this is the wall between tenants, so it is looked at from outside."""
    for selector in _selectors(_parse(text, text)):
        own = [m for m in selector.matchers.matchers if (m.name, m.value) == ("namespace", namespace)]
        if selector.matchers.or_matchers or not any(m.op == MatchOp.Equal for m in own):
            raise QueryRefused(f"the selector {selector.prettify()} could not be confined to namespace {namespace}")
