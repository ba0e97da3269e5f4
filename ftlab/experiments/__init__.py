"""Experiments over many runs: comparisons, trials of a rule, the learning-rate range test, soups."""
