"""`python -m depthformer_ros.replay`."""

from depthformer_ros.replay import main

main()
