"""Training, evaluating and comparing models; never imported by the package."""
