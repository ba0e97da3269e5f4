"""Checkers for the exercises of the course: ``ftlab.check.exercise("03.2", answer)`` accepts an answer or gives a hint."""
