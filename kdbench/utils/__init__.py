"""Handle files, numbers as text, cores, memory and seeds."""
