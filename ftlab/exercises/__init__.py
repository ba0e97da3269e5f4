"""Checkers of the course's exercises: ``ftlab.check.exercise("03.2", answer)`` says right, or gives a hint."""

from ftlab.exercises.checking import Check, Verdict

__all__ = ["Check", "Verdict", "check"]

check = Check()
"""What a learner has answered so far, in this session."""
