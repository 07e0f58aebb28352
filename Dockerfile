# The node without PyTorch: the lines of the README's "Without PyTorch on the robot", on ROS 2 Jazzy.
# docs/deployment.md shows how to build and start it.
FROM ros:jazzy-ros-base

RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        python3-pip python3-opencv python3-pil python3-tqdm python3-packaging \
    && rm -rf /var/lib/apt/lists/*

# A user of the image: with uid 1000 it shares Fast DDS's memory with most robots' first user.
USER ubuntu
RUN mkdir -p /home/ubuntu/ros2_ws/src/depthformer_ros
WORKDIR /home/ubuntu/ros2_ws
# Ubuntu 24.04 refuses libraries from PyPI beside its own, unless this is set.
ENV PIP_BREAK_SYSTEM_PACKAGES=1
RUN python3 -m pip install --user --no-cache-dir onnxruntime \
    'mcap>=1.1' 'rosbags>=0.11,<0.12' 'tyro>=0.9' 'numpy<2'

COPY --chown=ubuntu package.xml setup.py setup.cfg LICENSE src/depthformer_ros/
COPY --chown=ubuntu config src/depthformer_ros/config
COPY --chown=ubuntu launch src/depthformer_ros/launch
COPY --chown=ubuntu resource src/depthformer_ros/resource
COPY --chown=ubuntu depthformer_core src/depthformer_ros/depthformer_core
COPY --chown=ubuntu depthformer_ros src/depthformer_ros/depthformer_ros
RUN . /opt/ros/jazzy/setup.sh && colcon build --packages-select depthformer_ros

# What a terminal's Ctrl-C sends: `ros2 launch` ends its nodes in order.
STOPSIGNAL SIGINT
ENTRYPOINT ["/bin/bash", "-c", "source /home/ubuntu/ros2_ws/install/setup.bash && exec \"$@\"", "bash"]
CMD ["ros2", "launch", "depthformer_ros", "depth_camera.launch.py", \
    "checkpoint:=/networks/small.onnx", "image_topic:=/camera/image_raw"]
