"""ROS 2 node of DepthFormer: the only package here that imports ROS."""
