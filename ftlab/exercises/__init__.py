"""Checkers of the course's exercises: ``ftlab.check.exercise("03.2", answer)`` accepts an answer or gives a hint."""
