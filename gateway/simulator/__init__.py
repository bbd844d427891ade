"""The embedded upstream: SWR's list of image repositories, as far as it is known from outside, with faults on demand.

`data` makes the repositories, `query` reads the request in every spelling that clients use, `access` lets it in, `app`
answers, `error_answers` and `oddities` in the ways that are ordered.
"""
