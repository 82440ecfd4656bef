"""Publish a board without private data, and verify records from others."""
