"""Targets through time: their masklets, what speaks for them, and which detection belongs to which."""
