"""What a domain would gain and forget."""
