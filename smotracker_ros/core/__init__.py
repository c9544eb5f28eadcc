"""What every room of the package speaks: frames, boxes, tracks, settings."""
