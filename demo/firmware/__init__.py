"""The demo's firmware: a small camera for the ESP32-C3, and how it is built."""
