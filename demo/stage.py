"""What the acts play on: a sandbox, the operator, a bridge for each gateway, and the simulated devices."""

import asyncio
import json
import os
import secrets
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backstay.adapters.kube.client import EDGE_DEVICES, RELEASE_PLANS, KubeClient
from backstay.errors import BackstayError, NotFound
from backstay.sandbox import Sandbox
from backstay.sandbox.build import kubernetes_binaries
from backstay.sandbox.ports import is_free
from demo import installation, resources
from demo.artifacts import Artifacts, make_artifacts
from demo.boxes import NAMES, Box, add_boxes, document, roles, start_agents
from demo.browser import pictures
from demo.devices import FLASH, write_fleets
from demo.fleet import NAMESPACE, REGIONS, Camera
from demo.git import PLAN_FILE, Git
from demo.installation import Image, push_image
from demo.processes import Processes, free_port
from demo.scene import Scene, scene_of

Json = dict[str, Any]
Tell = Callable[[str], None]

REPOSITORY: Final = Path(__file__).parent.parent
MANIFESTS: Final = REPOSITORY / "manifests"
LOOK_SECONDS: Final = 0.4
READY_SECONDS: Final = 60.0
LEASE_SECONDS: Final = 60
"""Long enough that neither a busy machine nor an API server that is away for a while costs the operator its lease."""
OPERATOR: Final = (resources.SYSTEM, installation.OPERATOR)


class StoryStuck(BackstayError):
    """What an act waits for did not happen in its time."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What the team installs Backstay from, and steers it with."""

    image: Image
    git: Git
    page: str
    """Where the page is to be found once it is served."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and a person's hands on it."""

    directory: Path
    sandbox: Sandbox
    artifacts: Artifacts
    cameras: tuple[Camera, ...]
    processes: Processes
    person: Path
    """The kubeconfig of somebody who releases; no administrator."""
    client: KubeClient
    """The same person's eyes."""
    boxes: tuple[Box, ...]
    """The Linux nodes; none where this machine cannot have any."""
    platform: Platform | None
    """None where this machine cannot have nodes, on which alone the image runs."""
    context: Path
    """What the checker needs to find everything."""

    async def apply(self, name: str, *objects: Json) -> str:
        """Apply objects as a person does, by kubectl with strict validation, and return the command."""
        file = self.directory / "manifests" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(resources.documents(*objects), encoding="utf-8")
        return await self.kubectl("apply", "--server-side", "--validate=strict", "-f", str(file))

    async def apply_directory(self, directory: Path) -> str:
        """Apply the manifests of a directory as the same person, and return the command."""
        return await self.kubectl("apply", "--server-side", "--validate=strict", "-f", f"{directory}/")

    async def kubectl(self, *arguments: str) -> str:
        """Run kubectl as that person, and return the command as it would be typed."""
        await self.sandbox.kubectl(*arguments, kubeconfig=self.person)
        return f"kubectl {shlex.join(argument.removeprefix(f'{REPOSITORY}/') for argument in arguments)}"

    async def token(self) -> str:
        """A token of that person, as it is typed into a page."""
        words = ("create", "token", resources.PERSON, f"--namespace={NAMESPACE}", "--duration=8h")
        return (await self.sandbox.kubectl(*words)).strip()

    async def open_page(self, platform: Platform) -> str:
        """Make the operator's page reachable here as its administrator does, and return the command."""
        port = int(platform.page.rpartition(":")[2])
        words = ("port-forward", f"--namespace={resources.SYSTEM}", f"deployment/{installation.OPERATOR}",
                 f"{port}:{installation.PAGE_PORT}")  # fmt: skip
        kubectl = str(kubernetes_binaries() / "kubectl")
        self.processes.run("page", kubectl, f"--kubeconfig={self.sandbox.kubeconfig}", *words)
        try:
            async with asyncio.timeout(READY_SECONDS):
                while is_free(port):
                    self.processes.check()
                    await asyncio.sleep(LOOK_SECONDS / 4)
        except TimeoutError as error:
            raise StoryStuck(f"nobody serves {platform.page}; logs: {self.processes.logs}") from error
        return shlex.join(("kubectl", *words))

    async def scene(self, plan: str = resources.PLAN) -> Scene:
        """A plan as it stands now."""
        try:
            return scene_of(await self.client.get(RELEASE_PLANS, plan, NAMESPACE))
        except NotFound:
            return Scene()

    async def devices(self) -> list[Json]:
        """The EdgeDevices as they stand now."""
        pages = self.client.list_pages(EDGE_DEVICES, NAMESPACE)
        return [device async for page in pages for device in page.items]

    async def boxes_tell(self, words: str, seconds: float) -> None:
        """Wait until the journals of all boxes have these words; no server is asked.

        Raises:
            StoryStuck: they had not within the time.
        """
        await self._every_box(f"said {words!r}", lambda box: bool(box.told(words)), seconds)

    async def boxes_use(self, version: str, seconds: float) -> None:
        """Wait until the disks of all boxes have this version of the model in use; no server is asked.

        Raises:
            StoryStuck: they had not within the time.
        """
        await self._every_box(f"used model {version}", lambda box: box.in_use() == version, seconds)

    async def _every_box(self, what: str, holds: Callable[[Box], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not all(map(holds, self.boxes)):
                    self.processes.check()
                    await asyncio.sleep(LOOK_SECONDS / 4)
        except TimeoutError as error:
            raise StoryStuck(f"not every box {what} within {seconds:.0f} s; logs: {self.processes.logs}") from error

    async def until(
        self,
        what: str,
        holds: Callable[[Scene], bool],
        see: Callable[[Scene], None],
        seconds: float,
        plan: str = resources.PLAN,
    ) -> Scene:
        """Look on until something holds.

        Raises:
            StoryStuck: it did not within its time; the message says how the plan stands and where to read on.
        """
        scene = Scene()
        try:
            async with asyncio.timeout(seconds):
                while not holds(scene):
                    await asyncio.sleep(LOOK_SECONDS)
                    self.processes.check()
                    self.sandbox.check()
                    scene = await self.scene(plan)
                    see(scene)
        except TimeoutError as error:
            stands = (
                f"the plan is {scene.phase or 'untouched'} in ring {scene.ring or '-'}: {scene.stalled or scene.why}"
            )
            raise StoryStuck(
                f"{what} did not happen within {seconds:.0f} s; {stands}; logs: {self.processes.logs}"
            ) from error
        return scene


@asynccontextmanager
async def set_up(directory: Path, cameras: tuple[Camera, ...], tell: Tell, *, keep: bool) -> AsyncIterator[Stage]:
    """Put everything on stage, and take it away when the block ends.

    Raises:
        ComponentFailed, Refused: a part does not come up; the message names its log.
    """
    async with Sandbox.start(directory / "sandbox", keep=keep) as sandbox, Processes(directory, keep=keep) as processes:
        tell(f"a Kubernetes of its own is up, with Prometheus, Alertmanager and a registry: {sandbox.api_url}")
        key = secrets.token_hex(32)
        async with asyncio.TaskGroup() as tasks:
            made = tasks.create_task(make_artifacts(sandbox.registry, directory / "artifacts", _what_takes_long(tell)))
            added = tasks.create_task(add_boxes(sandbox, directory, tell))
            pushed = tasks.create_task(_push_image(sandbox, tell))
            await _prepare_cluster(sandbox, cameras, key)
            await _start_operator(sandbox, processes)
            bridges = await _start_bridges(sandbox, processes, directory)
        artifacts, found, image = made.result(), added.result(), pushed.result()
        if found:
            template = (MANIFESTS / "tenant" / "node-rbac.yaml").read_text(encoding="utf-8")
            await sandbox.apply("\n---\n".join((roles(template), resources.documents(*map(document, NAMES)))))
            start_agents(found, processes)
        tell(f"{len(tuple(artifacts))} artifacts were compiled, trained and pushed to {sandbox.registry}")
        for name, fleet in write_fleets(directory, cameras, artifacts, bridges, key.encode()).items():
            processes.start(name, "esp32", "simulate", "--fleet", str(fleet), "--directory", str(directory / FLASH))
        person = await sandbox.service_account_kubeconfig(NAMESPACE, resources.PERSON)
        async with KubeClient.connect(person, field_manager="demo") as client:
            platform = (
                Platform(image, Git(directory / "git"), f"https://127.0.0.1:{free_port()}") if image and found else None
            )
            context = await _write_context(sandbox, directory, artifacts, found, platform)
            stage = Stage(directory, sandbox, artifacts, cameras, processes, person, client, found, platform, context)
            await _until_reachable(stage)
            tell(
                f"operator, {len(bridges)} bridges, {len(cameras)} cameras and {len(found)} Linux nodes are at work, "
                f"under accounts of their own"
            )
            yield stage


async def _push_image(sandbox: Sandbox, tell: Tell) -> Image | None:
    """Make and push the image, which only a node runs; None where there can be none."""
    if os.geteuid() != 0:
        return None
    tell("  image of operator and bridge: making, which takes minutes only the first time")
    return await push_image(sandbox.registry)


def _what_takes_long(tell: Tell) -> Tell:
    """Tell of what is made, and leave out the many small steps of pushing it."""

    def progress(step: str) -> None:
        if step.endswith(("compiling", "training")):
            tell(f"  {step}")

    return progress


async def _prepare_cluster(sandbox: Sandbox, cameras: tuple[Camera, ...], key: str) -> None:
    """Kinds, accounts, the tenant's key and the devices: what an administrator has done before anybody releases."""
    await sandbox.apply(REPOSITORY / "crds")
    await sandbox.apply(MANIFESTS / "rbac.yaml")
    names = sorted(
        f"{kind}.backstay.dev" for kind in ("releaseplans", "devicegroups", "healthrules", "edgedevices", "holds")
    )
    await sandbox.kubectl("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in names))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "backstay-tenant-key", "namespace": NAMESPACE},
        "stringData": {"key": key},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await sandbox.apply(resources.documents(namespace))
    template = (MANIFESTS / "tenant" / "bridge-rbac.yaml").read_text(encoding="utf-8").replace("TENANT", NAMESPACE)
    roles = "\n---\n".join(template.replace("GATEWAY", f"gw-{region}") for region in REGIONS)
    devices = [camera.document() for camera in cameras]
    await sandbox.apply("\n---\n".join((roles, resources.documents(secret, *resources.people(), *devices))))


async def _start_bridges(sandbox: Sandbox, processes: Processes, directory: Path) -> dict[str, str]:
    """Start a bridge for each region, and return where each gateway's answers."""
    found = {}
    for region in REGIONS:
        gateway, address = f"gw-{region}", f"127.0.0.1:{free_port()}"
        kubeconfig = await sandbox.service_account_kubeconfig(NAMESPACE, f"bridge-{gateway}")
        processes.start(
            f"bridge-{gateway}", "bridge", "run", "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE,
            "--gateway", gateway, "--listen", address, "--cache", str(directory / f"cache-{gateway}"),
        )  # fmt: skip
        sandbox.scrape(f"bridge-{gateway}", address)
        found[gateway] = f"http://{address}"
    return found


async def _start_operator(sandbox: Sandbox, processes: Processes) -> None:
    kubeconfig = await sandbox.service_account_kubeconfig(*OPERATOR)
    processes.start(
        "operator", "operator", "run", "--kubeconfig", str(kubeconfig), "--prometheus", sandbox.prometheus_url,
        "--alertmanager", sandbox.alertmanager_url, "--lease-duration", str(LEASE_SECONDS),
    )  # fmt: skip


async def _write_context(
    sandbox: Sandbox, directory: Path, artifacts: Artifacts, boxes: tuple[Box, ...], platform: Platform | None
) -> Path:
    auditor = await sandbox.service_account_kubeconfig(NAMESPACE, resources.AUDITOR)
    files: dict[str, dict[str, str]] = {}
    for each in artifacts:
        files.setdefault(str(each.plane), {})[each.version] = str(each.file)
    context = {
        "kubectl": str(kubernetes_binaries() / "kubectl"),
        "kubeconfig": str(auditor),
        "namespace": NAMESPACE,
        "plan": resources.PLAN,
        "prometheus": sandbox.prometheus_url,
        "alertmanager": sandbox.alertmanager_url,
        "audit_log": str(sandbox.audit_log),
        "flash": str(directory / FLASH),
        "artifacts": files,
        "evidence": str(directory / "evidence"),
        "boxes": {box.name: {"data": str(box.data), "url": box.url} for box in boxes},
        "box_plan": resources.BOX_PLAN,
        "platform": None
        if platform is None
        else {
            "image": platform.image.digest,
            "repository": str(platform.git.shared),
            "plan_file": PLAN_FILE,
            "page": platform.page,
            "ca": str(sandbox.ca),
            "pictures": {name: str(file) for name, file in pictures(directory).items()},
        },
    }
    file = directory / "checker.json"
    file.write_text(json.dumps(context, indent=1), encoding="utf-8")
    return file


async def _until_reachable(stage: Stage) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while not all(map(_is_reachable, await stage.devices())):
            stage.processes.check()
            await asyncio.sleep(LOOK_SECONDS)


def _is_reachable(device: Json) -> bool:
    conditions = device.get("status", {}).get("conditions", ())
    return any(found["type"] == "Reachable" and found["status"] == "True" for found in conditions)
