"""Speed benchmarks from a checkout: `python benchmarks/speed.py --output DIR` is `smotracker benchmark --output DIR`.

Their code stands in smotracker_ros/evaluation/benchmarks, so that an installed package has it too.
"""

import sys

from smotracker_ros.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "benchmark")
    main()
