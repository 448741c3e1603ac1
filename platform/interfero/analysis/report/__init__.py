"""The report of a sweep as one HTML file that needs nothing else."""
