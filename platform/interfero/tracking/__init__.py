"""MLflow records, written by the driver; only this package imports MLflow."""
