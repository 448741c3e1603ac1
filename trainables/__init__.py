"""What runs inside a trial; behind the Worker protocol, without Ray or MLflow."""
