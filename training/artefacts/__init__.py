"""Pen and blur drawn on real tissue: what is found of them, and what is found without."""
