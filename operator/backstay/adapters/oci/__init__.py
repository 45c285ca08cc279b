"""OCI registries: a verifying reader, a cache of blobs on disk, signatures, and pushing."""
