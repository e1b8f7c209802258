"""The main job and its folder: begun, resumed, finished; what is checked before; models judged."""
