"""The answers to the course's exercises, right ones and the usual wrong ones. They stand here, not in the package.

``python -m tests.exercises.seal`` seals them into the package.
"""
