"""The gateway bridge: speaks DDI to the devices of one gateway, and the Kubernetes API to the operator."""
