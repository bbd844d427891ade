"""Writes the pages of the docs that are made of the code, and the picture that is made of a run: `make docs`."""
