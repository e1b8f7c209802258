"""One step of the stream: the one loop, its checkpoints, the watch over penalties."""
