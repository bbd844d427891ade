"""How the gateway authenticates to the upstream: a credential is asked for the headers of one request."""
