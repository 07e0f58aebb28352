"""Calibration of depth: the correction that a network's metres need on one camera."""
