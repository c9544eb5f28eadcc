"""Directions of several cameras become targets with place, velocity and one id."""
