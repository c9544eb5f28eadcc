"""Speed benchmarks: ratios of costs that are measured side by side in one process."""
