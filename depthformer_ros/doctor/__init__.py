"""The part of `depthformer doctor` that looks at the ROS graph."""
