"""The addresses of Services. There is nothing that carries them out, but for that of the API server."""

from typing import Final

SERVICE_RANGE: Final = "10.96.0.0/16"
API_SERVICE: Final = "10.96.0.1"
"""The first of the range is what Pods know the API server by."""
API_SERVICE_PORT: Final = 443
