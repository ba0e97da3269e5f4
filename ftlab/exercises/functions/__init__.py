"""Checkers of learners' functions: a module for each chapter, with ``TASKS`` by exercise number."""
