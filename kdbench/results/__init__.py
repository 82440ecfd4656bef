"""Keep what a run leaves: records, timings, and where they stand in a results folder."""
