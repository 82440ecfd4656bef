"""Plan a run, execute its cells, and report how it goes."""
