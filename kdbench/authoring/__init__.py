"""Help authors of plugins to begin: new distributions from templates."""
