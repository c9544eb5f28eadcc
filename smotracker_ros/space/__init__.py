"""Directions and places: where cameras stand and look, what directions mean in the world, and where to point."""
