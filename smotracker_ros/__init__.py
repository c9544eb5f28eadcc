"""SMOTracker for ROS 2: small-object tracking with SAM2 masklets.

The tracker itself (everything outside :mod:`smotracker_ros.ros`) knows nothing of ROS.
"""

import pkgutil

# In a colcon workspace the generated messages (`smotracker_ros.msg`) live in the install space while tests may run
# against the source tree: both folders together form this package.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
