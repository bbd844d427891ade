"""Several processes that share the gateway's ports, and the one that looks after them.

Python computes on one core. Where a machine gives more and nothing else multiplies the gateway, `WORKERS` does: each
worker is a whole gateway that listens on the same ports, and the kernel deals out connections. Workers are programs
started anew, never copies of a running one: gRPC does not survive a fork.
"""
