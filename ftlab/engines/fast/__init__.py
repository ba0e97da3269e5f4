"""Fast paths. The folder may be deleted and the package still works, only slower."""
