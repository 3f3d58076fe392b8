"""Measurements of a result: areas, objects, and a summary."""
