"""The sections of the dock: each draws a session's state and turns clicks into its methods."""
