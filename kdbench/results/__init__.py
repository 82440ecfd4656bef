"""Read and write the results of a run: records, timings, and their places in a results folder."""
