"""The operator: observe, decide, apply. Errors become kopf's here and nowhere else."""

import kopf

from backstay.errors import BackstayError, Refused

RETRY_SECONDS = 5.0


def kopf_error(error: BackstayError) -> Exception:
    """What kopf shall do about an error: try again, or not.

    It is an `Exception` to raise from the original, never that one itself, so that its cause is kept.
    """
    if isinstance(error, Refused):
        return kopf.PermanentError(str(error))
    return kopf.TemporaryError(str(error), delay=RETRY_SECONDS)
