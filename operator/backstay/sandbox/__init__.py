"""A real Kubernetes and its neighbours on one machine, for the demo and the tests.

`Sandbox` is imported on first use, so that the set-up, which runs on a bare Python, can live in this package too.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backstay.sandbox.cluster import Sandbox

__all__ = ["Sandbox"]


def __getattr__(name: str) -> Any:
    """Load `Sandbox` when it is first asked for."""
    if name != "Sandbox":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from backstay.sandbox.cluster import Sandbox

    return Sandbox
