"""The formulas, one file each: the pure function first, then the rule built on it."""
