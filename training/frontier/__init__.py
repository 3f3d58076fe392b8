"""Dice against cost: single models, two stages under every tile selector, and oracles."""
