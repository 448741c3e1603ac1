"""The 15 common corruptions of Hendrycks and Dietterich (arXiv:1903.12261), each at five severities."""
