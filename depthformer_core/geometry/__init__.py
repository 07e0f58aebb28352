"""Cameras, rigid transforms, and points in space."""
