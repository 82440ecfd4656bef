"""Plan a run, execute its cells and report progress."""
