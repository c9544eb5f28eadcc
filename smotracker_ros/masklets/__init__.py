"""The SAM2 side: from a box on one frame to a mask on every following frame."""
