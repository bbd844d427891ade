"""The commands of `swr-gateway`.

Each is imported when it is called, so that `--help` need not wait for grpc and aiohttp.
"""
