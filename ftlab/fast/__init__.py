"""Fast paths. Each may be deleted and the package still works, only slower."""
