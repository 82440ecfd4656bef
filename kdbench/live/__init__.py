"""Show a run in a browser while it goes on: record its state, and serve it on this machine."""
