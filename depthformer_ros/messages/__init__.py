"""Conversions between messages and arrays, and their transport."""
