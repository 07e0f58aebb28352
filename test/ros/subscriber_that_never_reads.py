"""Subscribes reliably to the topics named on the command line and never reads what comes."""

import sys
import time

import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2

rclpy.init(args=[])
node = rclpy.create_node("subscriber_that_never_reads")
for topic in sys.argv[1:]:
    kind = PointCloud2 if topic.endswith("points") else Image
    node.create_subscription(kind, topic, print, QoSProfile(depth=1000))
print("subscribed", flush=True)
while rclpy.ok():
    time.sleep(0.1)
