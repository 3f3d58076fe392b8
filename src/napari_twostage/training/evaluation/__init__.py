"""Images with known ground truth through the engine, quality metrics, and tables of both."""
