"""Recipes, which are lists of rules: parse, check, complete and explain them."""
