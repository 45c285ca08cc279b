"""What a Linux node is changed with: an installer for each type of artifact, and files that survive a power cut.

The node agent has to stay small, so nothing here imports kopf, kubernetes or pydantic.
"""
