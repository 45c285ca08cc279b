"""Asks the API server who a token belongs to, and what that person may list: TokenReview and SubjectAccessReview.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#webhook-token-authentication,
https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from backstay.adapters.kube.client import (
    SUBJECT_ACCESS_REVIEWS,
    TOKEN_REVIEWS,
    Json,
    KubeClient,
)
from backstay.ports.access import Kind, Person


class KubeAccess:
    """The word of one API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def who(self, token: str) -> Person | None:
        """Whose token this is; None where it is nobody's.

        Raises:
            Unavailable: the API server does not answer.
            Forbidden: this identity may not ask.
        """
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        status: Json = (await self._client.create(TOKEN_REVIEWS, review)).get("status") or {}
        user: Json = status.get("user") or {}
        if status.get("authenticated") is not True or not user.get("username"):
            return None
        extra = {str(key): tuple(values or ()) for key, values in (user.get("extra") or {}).items()}
        return Person(user["username"], user.get("uid", ""), tuple(user.get("groups") or ()), extra)

    async def may_list(self, person: Person, kind: Kind, namespace: str | None) -> bool:
        """Whether somebody may list a kind in a namespace, or with None in all of them.

        Raises:
            Unavailable: the API server does not answer.
            Forbidden: this identity may not ask.
        """
        asked = {"verb": "list", "group": kind.group, "resource": kind.resource, "namespace": namespace or ""}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": person.name,
                "uid": person.uid,
                "groups": list(person.groups),
                "extra": {key: list(values) for key, values in person.extra.items()},
                "resourceAttributes": asked,
            },
        }
        status: Json = (await self._client.create(SUBJECT_ACCESS_REVIEWS, review)).get("status") or {}
        return status.get("allowed") is True and not status.get("denied")
