"""Nodes of the sandbox: a real kubelet on a real containerd, each in namespaces of its own.

machine   holds a node's namespaces and joins its network to this machine's; when it ends, the kernel ends the rest
enter     runs a program inside them
settings  what containerd and the kubelet are configured with
added     what `Sandbox.add_node` returns
"""
