"""Reads manifests as the API server and the operator will, without either of them."""
