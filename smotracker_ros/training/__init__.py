"""Training: rendered scenes, clips of real data, and the loops that fit the embedded models."""
