"""The engine: both stages over a slide, kept on disk as they go."""
