"""Pure-Python installation with pip, without ROS: `pip install .` gives the library and the `smotracker` command.

In a ROS workspace colcon uses CMakeLists.txt instead and ignores this file.
"""

from setuptools import setup

setup()
