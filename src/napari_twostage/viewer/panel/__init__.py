"""Sections of the dock: each shows the state of a session and turns clicks into method calls."""
