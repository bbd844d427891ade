"""The settings: one model for flags, environment and file.

`model` says what they are, `names` what they are called, `types` how their values are read, `rules` what must go
together; `load` merges the sources and explains what is wrong.
"""
