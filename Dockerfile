# ROS 2 Jazzy with this package built in a workspace. Not built yet where it was written: hadolint accepts it.
#
#   docker build -t smotracker .
#   docker run --rm --net=host --shm-size=256m smotracker ros2 launch smotracker_ros track.launch.py image:=/camera/image_raw
#   docker run --rm -v "$PWD:/data" -w /data smotracker smotracker track flight.mp4 --output out
#
# An Nvidia GPU: leave --extra-index-url out (torch for CUDA) and run with --gpus all.
FROM ros:jazzy-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /workspace

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*

COPY . src/smotracker_ros

RUN python3 -m venv --system-site-packages venv \
    && . venv/bin/activate \
    && pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
        -c src/smotracker_ros/requirements/constraints-numpy1.txt ./src/smotracker_ros

RUN apt-get update \
    && rosdep update \
    && rosdep install --from-paths src --ignore-src -y \
        --skip-keys "python3-onnxruntime-pip python3-rosbags-pip" \
    && rm -rf /var/lib/apt/lists/*

RUN . venv/bin/activate \
    && . /opt/ros/jazzy/setup.bash \
    && colcon build --packages-select smotracker_ros

ENV FASTRTPS_DEFAULT_PROFILES_FILE=/workspace/install/smotracker_ros/share/smotracker_ros/config/fastdds.xml
ENTRYPOINT ["/bin/bash", "-c", ". /workspace/venv/bin/activate && . /workspace/install/setup.bash && exec \"$@\"", "--"]
CMD ["smotracker", "doctor"]
