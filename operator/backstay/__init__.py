"""Backstay releases firmware, models and configuration to edge-AI fleets, and pulls a bad release back by itself."""
