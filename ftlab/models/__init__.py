"""Models: load a pretrained network, cut it, save adapters of it."""
