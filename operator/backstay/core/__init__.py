"""Every decision of Backstay, pure: no I/O, no clock, no randomness, no logging."""
