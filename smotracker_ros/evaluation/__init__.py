"""Measuring: against truth, against other trackers, and the cost of it all."""
