"""Tables, fits and reports from records, never from a live cluster."""
