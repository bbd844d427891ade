"""The protocol, from the descriptor of gateway/swr/v1/repos.proto."""
