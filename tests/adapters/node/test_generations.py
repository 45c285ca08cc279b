"""The store of models and configs: one rename a change, whole releases only, and the truth after any interruption."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from backstay.adapters.node import durable, generations
from backstay.adapters.node.generations import Generations
from backstay.core.device import Cause, Order, Probe, Reason
from backstay.core.device_record import requirements
from backstay.core.devices import StepType
from backstay.core.planes import ContentDigest, Plane
from backstay.ports.installer import Beside, CannotInstall, Effect
from backstay.ports.registry import ArtifactDescription, Blob, ManifestDigest, Reference

OLD, NEW, NEWER = b"old" * 1000, b"new" * 1000, b"newer" * 1000


def digest(data: bytes) -> ContentDigest:
    return ContentDigest(f"sha256:{hashlib.sha256(data).hexdigest()}")


def order(data: bytes, number: int = 1) -> Order:
    return Order(
        number=number,
        plane=Plane.MODEL,
        type=StepType.INSTALL,
        content=digest(data),
        version=f"{number}.0.0",
        probes=(Probe("any", "AgentConnected"),),
        window=timedelta(minutes=1),
        requires=requirements({"firmware": ">=1.0.0"}),
    )


def artifact(data: bytes, size: int | None = None) -> ArtifactDescription:
    reference = Reference.parse(f"127.0.0.1:5000/vision/model@sha256:{'a' * 64}")
    blob = Blob(digest(data), len(data) if size is None else size)
    return ArtifactDescription(reference, ManifestDigest(reference.digest), Plane.MODEL, "1.0.0", "rk3566", blob)


@pytest.fixture
def payload(tmp_path: Path) -> Callable[[bytes], Path]:
    def written(data: bytes) -> Path:
        path = tmp_path / f"payload-{hashlib.sha256(data).hexdigest()[:8]}"
        path.write_bytes(data)
        return path

    return written


@pytest.fixture
def store(tmp_path: Path) -> Generations:
    return Generations(Plane.MODEL, tmp_path / "models", "model.bin")


async def install(store: Generations, payload: Callable[[bytes], Path], data: bytes, number: int) -> None:
    await store.stage(order(data, number), artifact(data), payload(data))
    assert await store.switch(order(data, number)) is Effect.AT_ONCE
    await store.confirm(order(data, number))


async def test_store_is_empty_when_nothing_was_installed(store: Generations) -> None:
    found = await store.look()
    assert (found.running, found.fallback, found.held, found.on_trial) == (None, None, frozenset(), None)
    with pytest.raises(CannotInstall, match="nothing to go back to"):
        await store.fall_back()


async def test_release_is_held_then_on_trial_then_confirmed_with_what_ran_as_the_fallback(
    store: Generations, payload: Callable[[bytes], Path]
) -> None:
    await install(store, payload, OLD, 1)
    await store.stage(order(NEW, 2), artifact(NEW), payload(NEW))
    staged = await store.look()
    assert staged.running is not None
    assert (staged.running.content, staged.held) == (digest(OLD), {digest(NEW)})
    await store.switch(order(NEW, 2))
    trial = await store.look()
    assert trial.running is not None
    assert trial.fallback is not None
    assert (trial.running.content, trial.running.version, trial.on_trial) == (digest(NEW), "2.0.0", 2)
    assert trial.fallback.content == digest(OLD)
    assert str(trial.running.requires[0]) == "firmware >=1.0.0"
    assert store.file.read_bytes() == NEW
    await store.confirm(order(NEW, 2))
    assert (await store.look()).on_trial is None


async def test_fall_back_uses_what_was_used_before_without_any_room_or_network(
    store: Generations, payload: Callable[[bytes], Path]
) -> None:
    await install(store, payload, OLD, 1)
    await store.stage(order(NEW, 2), artifact(NEW), payload(NEW))
    await store.switch(order(NEW, 2))
    await store.fall_back()
    found = await store.look()
    assert found.running is not None
    assert (found.running.content, found.fallback, found.on_trial) == (digest(OLD), None, None)
    assert store.file.read_bytes() == OLD
    assert digest(NEW) in found.held, "it can be tried again without a download"


async def test_release_that_was_altered_on_disk_is_neither_running_nor_held(
    store: Generations, payload: Callable[[bytes], Path]
) -> None:
    await install(store, payload, OLD, 1)
    path = store.file.resolve()
    path.chmod(0o644)
    path.write_bytes(b"broken")
    fresh = Generations(Plane.MODEL, path.parents[2], "model.bin")
    found = await fresh.look()
    assert (found.running, found.held) == (None, frozenset())
    await fresh.stage(order(OLD, 2), artifact(OLD), payload(OLD))
    assert (await fresh.look()).running is not None


async def test_trim_keeps_what_is_used_its_fallback_and_what_is_needed(
    store: Generations, payload: Callable[[bytes], Path], tmp_path: Path
) -> None:
    for number, data in enumerate((b"a", b"b", OLD, NEW), start=1):
        await install(store, payload, data, number)
    await store.trim({digest(b"a")})
    assert (await store.look()).held == {digest(b"a")}
    assert [place.name for place in (tmp_path / "models" / "generations").iterdir()] == ["4"]


async def test_bytes_are_refused_by_name_when_they_are_others_or_the_check_says_no(
    tmp_path: Path, payload: Callable[[bytes], Path]
) -> None:
    def check(path: Path, artifact: ArtifactDescription, beside: Beside) -> Cause | None:
        del artifact, beside
        return Cause(Reason.REJECTED, "no model") if path.read_bytes() == NEWER else None

    store = Generations(Plane.MODEL, tmp_path / "models", "model.bin", check)
    with pytest.raises(CannotInstall, match="DigestMismatch"):
        await store.stage(order(OLD), artifact(OLD), payload(NEW))
    with pytest.raises(CannotInstall, match="Rejected: no model"):
        await store.stage(order(NEWER), artifact(NEWER), payload(NEWER))
    with pytest.raises(CannotInstall, match="not held"):
        await store.switch(order(OLD))
    assert (await store.look()).held == frozenset()


async def test_objection_names_the_room_that_is_missing(store: Generations) -> None:
    assert await store.objection(order(OLD), artifact(OLD)) is None
    cause = await store.objection(order(OLD), artifact(OLD, 10**15))
    assert cause is not None
    assert cause.reason is Reason.NO_SPACE


class Cut(Exception):
    """The power goes."""


def cut_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Let the power go before the n-th change of the disk."""
    left = iter([None] * number)

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def made(*arguments: object, **named: object) -> object:
            if next(left, Cut) is Cut:
                raise Cut
            return change(*arguments, **named)

        return made

    for name in ("write_file", "replace_link", "remove", "rename", "copy_file"):
        monkeypatch.setattr(generations, name, counted(getattr(durable, name)))
    yield
    monkeypatch.undo()


@pytest.mark.parametrize("number", range(16))
async def test_one_of_two_releases_is_used_wherever_the_power_goes(
    store: Generations, payload: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    await install(store, payload, OLD, 1)
    lifetime = cut_at(monkeypatch, number)
    next(lifetime)
    survived = True
    try:
        await store.stage(order(NEW, 2), artifact(NEW), payload(NEW))
        await store.switch(order(NEW, 2))
        await store.fall_back()
        await store.switch(order(NEW, 3))
        await store.confirm(order(NEW, 3))
    except Cut:
        survived = False
    next(lifetime, None)
    fresh = Generations(Plane.MODEL, store.file.parents[2], "model.bin")
    found = await fresh.look()
    assert found.running is not None
    assert found.running.content in {digest(OLD), digest(NEW)}
    assert found.has(digest(OLD)) or found.running.content == digest(OLD)
    assert fresh.file.read_bytes() in {OLD, NEW}
    if found.running.content == digest(NEW) and not survived:
        assert found.on_trial in {2, 3}
        assert found.fallback is not None
        assert found.fallback.content == digest(OLD)
    if found.on_trial is not None:
        await fresh.fall_back()
    await install(fresh, payload, NEWER, 9)
    assert fresh.file.read_bytes() == NEWER
