"""Replay of recorded drives: what a bag holds, frame by frame, with its truth."""
