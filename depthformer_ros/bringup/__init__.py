"""The parts of the launch files."""
