"""Provide helpers for files, formatting of numbers, cores, memory and seeds."""
