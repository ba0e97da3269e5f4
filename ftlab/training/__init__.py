"""Training: the loop, fine-tuning around it, optimizers, checkpoints, a run and its folder."""
