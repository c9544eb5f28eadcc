"""Video in and out: files, image folders and bags as sources; MOT text, overlays, masks and bags as sinks."""
