"""What the SDK, the command line and the MLflow plugin stand on: one server, and where its bytes are."""
