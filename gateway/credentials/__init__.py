"""How the gateway signs in to the upstream: a credential is asked for the headers of one request."""
