"""The main job and its folder: begun, resumed, finished; what is checked before, and models judged by themselves."""
