"""The part of `depthformer doctor` that inspects the ROS graph."""
