"""Measure a finished model's latency, memory and operations, and describe the machine."""
