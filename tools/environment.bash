# Source this to use the ROS 2 of `.venv` and the package built in `install/`:  . tools/environment.bash
# Where `make demo` alone has been run, those of `.venv-demo` are used.
# It replaces a ROS distribution that is sourced in this shell; values that you have set for ROS's own variables stay.

smotracker_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
smotracker_venv="$smotracker_root/.venv" smotracker_install="$smotracker_root/install"
if [ ! -e "$smotracker_venv/stamps/command" ] && [ -e "$smotracker_root/.venv-demo/stamps/command" ]; then
  smotracker_venv="$smotracker_root/.venv-demo" smotracker_install="$smotracker_root/.venv-demo/install"
fi
smotracker_python="$("$smotracker_venv/bin/python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"

export PATH="$smotracker_venv/bin:$smotracker_install/smotracker_ros/lib/smotracker_ros:$PATH"
export AMENT_PREFIX_PATH="$smotracker_install/smotracker_ros:$smotracker_venv"
export LD_LIBRARY_PATH="$smotracker_install/smotracker_ros/lib:$smotracker_venv/lib"
# The source tree first, so that new modules need no new build; the generated messages come from the installation.
export PYTHONPATH="$smotracker_root:$smotracker_install/smotracker_ros/lib/$smotracker_python/site-packages"
export ROS_DISTRO=kilted ROS_VERSION=2 ROS_PYTHON_VERSION=3
export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
# The ROS wheels complete LD_LIBRARY_PATH when Python starts, unless this says that it was done.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE

export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
# Default transports lose most images of 1 MB and more; this profile keeps them. A profile of your own, by either name, stays.
if [ -z "${FASTRTPS_DEFAULT_PROFILES_FILE:-}" ]; then
  export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$smotracker_root/config/fastdds.xml}"
fi
# Nothing is downloaded at run time.
export YOLO_OFFLINE=true YOLO_AUTOINSTALL=false YOLO_CONFIG_DIR="${YOLO_CONFIG_DIR:-$smotracker_root/.cache/ultralytics}"
export HF_HUB_OFFLINE=1 MPLCONFIGDIR="${MPLCONFIGDIR:-$smotracker_root/.cache/matplotlib}"
mkdir -p "$YOLO_CONFIG_DIR" "$MPLCONFIGDIR"
export SMOTRACKER_DATA="${SMOTRACKER_DATA:-$smotracker_root/../shared/data}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(nproc)}"
unset smotracker_root smotracker_venv smotracker_install smotracker_python
