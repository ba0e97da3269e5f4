"""Checkers of the functions that learners write: a module for each chapter, with ``TASKS`` by the exercise's number."""
