"""A slide composed of real images on empty ground, and how two stages fare on it."""
