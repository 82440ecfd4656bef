"""Quantify the uncertainty of scores: intervals, comparisons and ranks over examples and seeds."""
