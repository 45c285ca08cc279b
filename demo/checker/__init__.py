"""The demo's checker: it finds out by its own means whether what the narrator tells is true.

It shares no code with the rest of Backstay or of the demo. It reads the API server by kubectl, the API server's audit
log, Prometheus and Alertmanager by HTTP, and the flash files by the format in which ESP-IDF keeps them.
"""
