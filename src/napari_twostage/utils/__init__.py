"""Threads, timing, and facts about the system."""
