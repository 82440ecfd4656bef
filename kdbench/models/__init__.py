"""Find, build, save, load and count models."""
