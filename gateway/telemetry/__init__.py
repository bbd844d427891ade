"""What operators see of calls and of the process: records, log lines, metrics, traces, and the admin endpoints.

It knows no gRPC: names, numbers and texts come in.
"""
