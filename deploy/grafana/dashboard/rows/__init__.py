"""The rows of the dashboard, each a question."""
