"""From an image to depth on its own pixels, whatever its camera."""
