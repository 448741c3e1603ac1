"""Figures as plain data, and one Vega-Lite specification of each for the page, PNG and SVG."""
