"""Losses: ``loss(model, batch)`` is a formula applied to a model's output for a batch, the mean over its samples."""
