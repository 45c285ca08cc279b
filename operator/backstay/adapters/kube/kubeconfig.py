"""Whom a kubeconfig names, as the official client reads it: with all kinds of credentials, and their renewal."""

from pathlib import Path

from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration

from backstay.errors import Refused


async def configuration_from(kubeconfig: Path | None) -> Configuration:
    """Read a kubeconfig or, without one, the Pod's own service account.

    Raises:
        Refused: it cannot be read, or says nothing that can be used.
    """
    _must_exist(kubeconfig)
    configuration = Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig), client_configuration=configuration
            )
    except (
        config.ConfigException,
        OSError,
        ValueError,
        AttributeError,
        TypeError,
    ) as error:
        where = "the Pod's service account" if kubeconfig is None else f"kubeconfig {kubeconfig}"
        message = f"{where} cannot be used: {error}"
        raise Refused(message) from error
    except Exception as error:
        # The loader lets its YAML parser's own errors through.
        message = f"kubeconfig {kubeconfig} cannot be read: {error}"
        raise Refused(message) from error
    return configuration


def _must_exist(kubeconfig: Path | None) -> None:
    """Say plainly what the loader would call an invalid file."""
    if kubeconfig is not None and not kubeconfig.is_file():
        message = f"kubeconfig {kubeconfig} does not exist; give the file that kubectl works with"
        raise Refused(message)
