"""Prediction of depth for an image of any camera."""
