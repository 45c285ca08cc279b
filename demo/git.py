"""The team's Git repository: what is committed and pushed to it is what is applied, from a checkout of its own."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backstay.errors import BackstayError
from demo.processes import carried_out

PLAN_FILE: Final = "vision/plan.yaml"
BRANCH: Final = "main"


class GitFailed(BackstayError):
    """git did not do what it was told to."""


@dataclass(frozen=True, slots=True)
class Git:
    """A bare repository, the checkout of whoever releases, and the checkout that is applied."""

    directory: Path

    @property
    def shared(self) -> Path:
        """What is pushed to and pulled from."""
        return self.directory / "fleet.git"

    @property
    def desk(self) -> Path:
        """Where a person edits."""
        return self.directory / "desk"

    @property
    def deployed(self) -> Path:
        """What is applied; nobody edits here."""
        return self.directory / "deployed"

    async def begin(self, plan: str) -> None:
        """Make all three; the first commit has the plan as it stands.

        Raises:
            GitFailed: git says no, or there is none.
        """
        self.directory.mkdir(parents=True)
        await self._git(self.directory, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(self.shared))
        await self._git(self.directory, "clone", "--quiet", str(self.shared), str(self.desk))
        self.edit(plan)
        await self.commit("Keep the plan in Git")
        await self._git(self.directory, "clone", "--quiet", str(self.shared), str(self.deployed))

    def edit(self, plan: str) -> None:
        """Write the plan at the desk."""
        file = self.desk / PLAN_FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(plan, encoding="utf-8")

    async def changed(self) -> list[str]:
        """The lines that differ from the last commit, with their signs."""
        told = await self._git(self.desk, "diff", "--unified=0", "--no-color")
        return [line for line in told.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]

    async def commit(self, subject: str) -> list[str]:
        """Commit and push, and return the commands."""
        await self._git(self.desk, "add", ".")
        await self._git(self.desk, "commit", "--quiet", "--all", "--message", subject)
        await self._git(self.desk, "push", "--quiet", "origin", f"HEAD:{BRANCH}")
        return [f"git commit --all --message {shlex.quote(subject)}", "git push"]

    async def pull(self) -> str:
        """Bring what is applied up to what was pushed, and return the name of the commit."""
        await self._git(self.deployed, "pull", "--quiet", "--ff-only")
        return (await self._git(self.deployed, "rev-parse", "--short", "HEAD")).strip()

    async def head(self) -> str:
        """The commit that the shared branch is at."""
        return (await self._git(self.shared, "rev-parse", BRANCH)).strip()

    async def move(self, to: str) -> None:
        """Let the shared branch be at another commit."""
        await self._git(self.shared, "update-ref", f"refs/heads/{BRANCH}", to)

    async def _git(self, where: Path, *words: str) -> str:
        try:
            done = await carried_out("git", *words, cwd=where, environment=_environment())
        except FileNotFoundError as error:
            raise GitFailed("there is no git here; install it") from error
        if done.status != 0:
            raise GitFailed(f"`git {shlex.join(words)}` ended with {done.status}: {done.complaint.strip()}")
        return done.told


def _environment() -> dict[str, str]:
    """Git as if nobody had configured it: no hook, no signing key and no name of whoever runs the demo."""
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Release Engineer"), ("EMAIL", "release-engineer@example.com"))
    }
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **who,
    }
