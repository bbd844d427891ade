"""The settings: one model for flags, environment and file.

`model` names them, `types` reads their values, `load` merges the sources and explains what is wrong.
"""
