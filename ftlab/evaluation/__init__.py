"""Evaluation: run a model over rows; metrics with intervals; behavioural checks."""
