"""The errors of Backstay.

    BackstayError
    ├── Unavailable      a neighbour (API server, registry, Prometheus …) could not be reached, or was busy: try again
    └── Refused          the input, or the caller's right to ask for it, is wrong: trying again changes nothing
        ├── NotFound     what was named does not exist
        ├── Conflict     somebody else changed it first: read again and decide again
        └── Forbidden    this identity may not do it

Every message says what was wrong, where, and what to do next. kopf's temporary and permanent errors are
derived from the two branches in one place, `backstay.controllers`.
"""


class BackstayError(Exception):
    """Something that Backstay can name went wrong."""


class Unavailable(BackstayError):
    """A neighbour could not be reached or did not answer in time; the same call may succeed later."""


class Refused(BackstayError):
    """The request itself is wrong; the same call never succeeds."""


class NotFound(Refused):
    """What was named does not exist."""


class Conflict(Refused):
    """The object changed since it was read."""


class Forbidden(Refused):
    """This identity may not do that."""


def first_in(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The innermost first error of a group: what its tasks ended of."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
