"""Simulated ESP32s: flash with NOR semantics, ESP-IDF's boot decisions, and the device application."""
