"""The demonstration: one real release after another, told as it happens."""
