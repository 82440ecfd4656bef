"""A run looked at in a browser while it goes on: what it leaves word of, and the server that shows it on this machine."""
