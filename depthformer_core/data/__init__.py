"""Recorded and generated data: datasets, bags, KITTI drives, streets, image and cloud files."""
