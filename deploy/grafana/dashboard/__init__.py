"""The dashboard, in code: a row is a question, and each panel says what it means and when to look at it."""
