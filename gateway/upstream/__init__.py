"""The upstream's side of a call: one HTTP request, and what can go wrong with it.

Only here is aiohttp's client known.
"""
