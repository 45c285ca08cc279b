"""`python -m image`: build the image, write it to a directory, and push it if asked to."""

import argparse
import asyncio
import sys
from pathlib import Path

from backstay.errors import BackstayError
from backstay.ports.registry import Repository
from backstay.sandbox.progress import report_to_terminal
from image.architectures import ARCHITECTURES, architecture
from image.build import build, write_layout
from image.push import push

MEBIBYTE = 1024**2


def main() -> int:
    """Build as the arguments say; a failure is one clear message."""
    options = _arguments().parse_args()
    try:
        names = options.architecture or [None]
        images = [build(architecture(name), report_to_terminal, fresh=options.fresh) for name in names]
        write_layout(images, options.output)
        for image in images:
            pulled, stored = (size // MEBIBYTE for size in image.size_bytes)
            print(f"{image.architecture.name}: {image.manifest.digest}, {pulled} MiB to pull, {stored} MiB on disk")
        print(f"written to {options.output}, an OCI image layout")
        if options.push:
            repository, tag = _place(options.push)
            print(f"pushed as {asyncio.run(push(images, repository, tag or images[0].version, report_to_terminal))}")
    except BackstayError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _place(text: str) -> tuple[Repository, str]:
    """A repository, and the tag if the text names one: a colon before the last slash is a port's."""
    before, slash, last = text.rpartition("/")
    name, _, tag = last.partition(":")
    return Repository.parse(f"{before}{slash}{name}"), tag


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m image", description="Build the image of operator and bridge.")
    parser.add_argument(
        "--architecture", action="append", choices=sorted(ARCHITECTURES), help="twice for both; else this machine's"
    )
    parser.add_argument("--output", type=Path, default=Path("build/image"), help="what was there is replaced")
    parser.add_argument("--push", metavar="HOST[:PORT]/NAME[:TAG]", help="push it, with the list of what is inside")
    parser.add_argument("--fresh", action="store_true", help="fetch Debian's packages again, for what was mended since")
    return parser


if __name__ == "__main__":
    sys.exit(main())
