"""Dice against cost: single models, two stages under every selector, and what bounds them."""
