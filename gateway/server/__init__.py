"""The callers' side: the gRPC server, what it serves, and the guard around all of it. The only room that knows grpc."""
