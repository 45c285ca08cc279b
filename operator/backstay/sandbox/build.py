"""What is built from source here: a Kubernetes for the sandbox, and what else demo and tests run."""

from pathlib import Path
from typing import Final

from backstay.sandbox.go_module import GoModule

KUBERNETES: Final = GoModule(
    title="Kubernetes",
    directory=Path(__file__).parent / "kubernetes",
    programs=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"),
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

ARGO_CD: Final = GoModule(
    title="Argo CD's Lua engine",
    directory=Path(__file__).parent / "argocd",
    programs=("lua-engine",),
    builder="make setup-tests",
    upstream="github.com/argoproj/argo-cd/v3",
    version_variable="github.com/argoproj/argo-cd/v3/common.version",
    sources=("lua-engine/main.go",),
)

ARGO_CD_WHOLE: Final = GoModule(
    title="Argo CD",
    directory=Path(__file__).parent / "argocd_whole",
    # All parts of Argo CD are one program, which upstream builds of the package cmd.
    programs=("cmd",),
    builder="make argocd",
    upstream="github.com/argoproj/argo-cd/v3",
    version_variable="github.com/argoproj/argo-cd/v3/common.version",
    version_prefix="",
    files=("manifests/install.yaml",),
)

HELM: Final = GoModule(
    title="helm",
    directory=Path(__file__).parent / "helm",
    programs=("helm", "kubeconform", "known-kinds"),
    builder="make setup-tests",
    upstream="helm.sh/helm/v4",
    version_variable="helm.sh/helm/v4/internal/version.version",
    sources=("known-kinds/main.go",),
)


def kubernetes_binaries() -> Path:
    """The directory of the Kubernetes programs.

    Raises `Refused` if they are not built yet.
    """
    return KUBERNETES.built()


def lua_engine() -> Path:
    """The program that runs scripts as Argo CD does.

    Raises `Refused` if it is not built yet.
    """
    return ARGO_CD.built() / "lua-engine"


def argo_cd() -> Path:
    """The directory of Argo CD's program `cmd`, and of the `install.yaml` that people install it with.

    Raises `Refused` if it is not built yet.
    """
    return ARGO_CD_WHOLE.built()


def cosign_binaries() -> Path:
    """The directory of cosign, and of the registry that has the referrers API.

    Raises `Refused` if they are not built yet.
    """
    return COSIGN.built()


def helm_binaries() -> Path:
    """The directory of helm, and of what checks manifests without a cluster.

    Raises `Refused` if they are not built yet.
    """
    return HELM.built()
