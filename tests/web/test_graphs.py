"""Graphs by a real Prometheus, confined to the namespace of the plan."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from backstay.adapters.prometheus import Prometheus
from backstay.ports.overview import Decided
from backstay.web.graphs import Graphs, Window, watch_of
from tests.web.stage import Stage

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
async def graphs(scene: Stage, prometheus_url: str) -> AsyncIterator[Graphs]:
    async with aiohttp.ClientSession() as session:
        yield Graphs(Prometheus(session, prometheus_url), scene.clock)


def decided(scene: Stage, namespace: str, plan: str) -> Decided:
    found = scene.store.decided(namespace, plan)
    assert found is not None
    return found


async def test_graph_of_a_release_that_went_back_shows_the_ring_that_failed_when_it_failed(
    graphs: Graphs, scene: Stage
) -> None:
    graph = (await graphs.of(decided(scene, "borealis", "lights")))["accuracy"]
    (line,) = graph.lines
    assert line.name == "ring canary"
    numbers = [number for _, number in line.points]
    assert min(numbers) < 0.5
    assert max(numbers) > 0.9
    assert numbers[-1] > 0.9, "and that it came back"
    assert 'namespace="borealis"' in graph.query
    assert "${scope}" not in graph.query


async def test_graph_of_another_namespace_is_empty_when_a_rule_asks_for_it(graphs: Graphs, scene: Stage) -> None:
    found = decided(scene, "acme", "vision")
    plan = found.observed.plan
    query = 'avg(inference_accuracy{namespace="borealis"} * on(device) group_left() backstay_device_info{${scope}})'
    sly = replace(plan, signals=(replace(plan.signals[0], query=query),))
    graph = (await graphs.of(replace(found, observed=replace(found.observed, plan=sly))))["accuracy"]
    assert (graph.lines, graph.problem) == ((), "")


async def test_query_that_is_refused_is_told_in_place_of_a_graph(graphs: Graphs, scene: Stage) -> None:
    found = decided(scene, "acme", "vision")
    plan = found.observed.plan
    wrong = replace(plan, signals=(replace(plan.signals[0], query="avg("),))
    graph = (await graphs.of(replace(found, observed=replace(found.observed, plan=wrong))))["accuracy"]
    assert "the rule's query is refused" in graph.problem


async def test_prometheus_that_is_away_is_told_in_place_of_a_graph(scene: Stage) -> None:
    async with aiohttp.ClientSession() as session:
        graphs = Graphs(Prometheus(session, "http://127.0.0.1:9"), scene.clock)
        graph = (await graphs.of(decided(scene, "acme", "vision")))["accuracy"]
    assert "did not answer" in graph.problem


def test_watch_is_that_of_the_decision_or_else_of_what_failed(scene: Stage) -> None:
    assert watch_of(decided(scene, "borealis", "lights")).ring == "canary"
    assert watch_of(decided(scene, "acme", "doors")).ring is not None


def test_window_holds_still_for_a_step_and_is_neither_too_short_nor_too_long() -> None:
    window = Window.over(NOON - timedelta(minutes=20), NOON + timedelta(seconds=3))
    assert window == Window.over(NOON - timedelta(minutes=20), NOON + timedelta(seconds=4))
    assert window.step == timedelta(seconds=11)
    assert Window.over(NOON, NOON).until - Window.over(NOON, NOON).since == timedelta(minutes=5)
    assert Window.over(NOON - timedelta(days=9), NOON).step == timedelta(minutes=3)
