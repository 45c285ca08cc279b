"""The page: a dashboard for people who would rather look. It reads, and changes nothing."""
