"""The Kubernetes API: a client, an informer, leadership and Events."""
