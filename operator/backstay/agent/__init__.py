"""The agent of a Linux node: it changes the node's firmware, model and config, one plane at a time, and undoes them.

It works outside of K3s and of the workload, and goes on with the API server, the kubelet or the network away.
"""
