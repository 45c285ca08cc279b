"""A whole release on a simulated clock: the real decisions, over devices and neighbours that are made up."""
