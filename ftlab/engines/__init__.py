"""Engines: how a forward and backward pass is computed."""
