"""The probes of a Linux node: what each measures, against the machine that the agent runs on.

`registry` has the kinds. Nothing here imports what would make the agent large.
"""
