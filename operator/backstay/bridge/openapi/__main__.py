"""`python -m backstay.bridge.openapi [--check] [DIRECTORY]`."""

import sys

from backstay.bridge.openapi.document import generated

if __name__ == "__main__":
    sys.exit(generated().run(None))
