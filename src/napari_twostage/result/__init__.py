"""The result folder: everything that a run keeps on disk."""
