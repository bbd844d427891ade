"""The settings: one model for flags, environment and file.

`model` says what they are, `names` what they are called; `types`, `durations` and `addresses` how values are read.
`load` merges the sources, among them the `config_file`, into what was `given`, and explains what is wrong: with one
setting, with several together (`rules`), with the `named_files`, or with others' variables in the `environment`.
"""
