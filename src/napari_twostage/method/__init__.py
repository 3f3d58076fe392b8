"""The two-stage method: tissue, tiles, uncertainty, selection, and the steps of a run."""
