"""The book of the course."""
