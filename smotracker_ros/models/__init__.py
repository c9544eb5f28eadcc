"""Weight files, what they are trusted for, their exports, and the hardware that they run on."""
