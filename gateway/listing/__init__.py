"""How pages of the list are got: from the cache, with identical calls, or from the upstream; and streams of pages.

It knows neither gRPC nor the HTTP client: a deadline, a query and a call's record come in, serialized replies go out.
"""
