"""The ROS 2 shell round the tracker: the only part that imports rclpy and messages."""
