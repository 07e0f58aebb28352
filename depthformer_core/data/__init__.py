"""Recorded and generated data: bags, KITTI drives, streets, image and cloud files."""
