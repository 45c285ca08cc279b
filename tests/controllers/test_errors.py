"""Errors become kopf's in one place."""

import kopf
import pytest

from backstay.controllers import kopf_error
from backstay.errors import BackstayError, Conflict, Forbidden, NotFound, Refused, Unavailable


@pytest.mark.parametrize("kind", [Refused, NotFound, Conflict, Forbidden])
def test_refusal_is_permanent(kind: type[BackstayError]) -> None:
    error = kopf_error(kind("it is wrong"))
    assert isinstance(error, kopf.PermanentError)
    assert str(error) == "it is wrong"


def test_absence_is_temporary() -> None:
    assert isinstance(kopf_error(Unavailable("nobody answers")), kopf.TemporaryError)
