"""Find, build, save, load, export and count models."""
