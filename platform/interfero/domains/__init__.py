"""Domains: images, splits, nested subsets, ingestion, bundled samples."""
