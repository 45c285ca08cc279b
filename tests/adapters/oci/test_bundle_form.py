"""What a list of referring manifests may say, and what is never asked of the registry for it."""

from typing import Any

import pytest

from backstay.adapters.oci.bundle_form import BundleForm
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.ports.registry import ArtifactMalformed, Reference

REFERENCE = Reference.parse(f"127.0.0.1:1/vision/model@sha256:{'a' * 64}")


@pytest.mark.parametrize("entry", [None, 1, [], {}, {"digest": 1}, {"digest": "sha512:00"}, {"digest": "sha256:../x"}])
async def test_entry_is_refused_by_name_when_it_names_no_digest(
    transport: Transport, registry: OciRegistry, entry: Any
) -> None:
    # Nobody listens there, so anything that was asked would be another error.
    with pytest.raises(ArtifactMalformed, match="has an entry without a digest"):
        await BundleForm(transport, registry).read(REFERENCE, entry)
