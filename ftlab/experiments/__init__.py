"""Experiments: questions put to many runs."""
