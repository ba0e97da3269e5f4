"""Models: load a pretrained network, prune it, save its adapters."""
