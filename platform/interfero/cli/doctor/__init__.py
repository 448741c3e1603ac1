"""`interfero doctor`: what a sweep presupposes, checked for real, with a remedy for each failure."""
