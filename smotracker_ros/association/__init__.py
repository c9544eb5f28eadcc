"""Which detection belongs to which masklet: parallel cues, their union, and the conflicts in it."""
