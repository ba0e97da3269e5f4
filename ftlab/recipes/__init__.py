"""Recipes: a list of rules as text and as a plan."""
