"""Clients of the gateway in other languages, a folder for each, and `interop`, which proves all of them."""
