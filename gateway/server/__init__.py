"""The callers' side: the gRPC server, what it serves, and the interceptor around all of it.

Of what serves, only this room knows grpc.
"""
