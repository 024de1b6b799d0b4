"""Objects in videos: frames in; metadata, tracks, drawn and multiplexed videos out."""
