"""The `backstay` command, also as `kubectl backstay`."""
