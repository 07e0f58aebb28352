"""Images, depth and laser scans of a generated street."""
