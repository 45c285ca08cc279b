"""What is built from source here: a Kubernetes for the sandbox, and the cosign that signs in the tests."""

from pathlib import Path
from typing import Final

from backstay.sandbox.go_module import GoModule

KUBERNETES: Final = GoModule(
    title="Kubernetes",
    directory=Path(__file__).parent / "kubernetes",
    programs=("kube-apiserver", "kube-controller-manager", "kubectl", "kubelet"),
    builder="make setup",
    upstream="k8s.io/kubernetes",
    version_variable="k8s.io/component-base/version.gitVersion",
)

COSIGN: Final = GoModule(
    title="cosign",
    directory=Path(__file__).parent / "cosign",
    programs=("cosign", "referrers-registry"),
    builder="make setup-tests",
    upstream="github.com/sigstore/cosign/v2",
    version_variable="sigs.k8s.io/release-utils/version.gitVersion",
    sources=("referrers-registry/main.go",),
)


def kubernetes_binaries() -> Path:
    """The directory of the Kubernetes programs.

    Raises `Refused` if they are not built yet.
    """
    return KUBERNETES.built()


def cosign_binaries() -> Path:
    """The directory of cosign, and of the registry that has the referrers API.

    Raises `Refused` if they are not built yet.
    """
    return COSIGN.built()
