"""Data: from a file, a folder or a hub id to padded batches of tensors."""
