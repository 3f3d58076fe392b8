"""One training run: its folder, its log, its images and its networks."""
