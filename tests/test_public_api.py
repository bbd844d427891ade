"""What callers in Python may import: these names and no others are promised."""

from __future__ import annotations

import swr_gateway_client


def test_the_public_names_of_the_client_are_these() -> None:
    assert sorted(swr_gateway_client.__all__) == [
        "CENTER_SELF",
        "CENTER_THIRD_PARTY",
        "CallError",
        "Center",
        "Client",
        "ConnectionFault",
        "ContentRange",
        "DEFAULT_LIMIT",
        "ListReposResponse",
        "MAX_RESUMES",
        "Repo",
        "SERVICE_CONFIG",
        "StreamReposResponse",
        "SyncClient",
        "Violation",
    ]


def test_every_public_name_is_there_and_no_class_is_public_by_accident() -> None:
    for name in swr_gateway_client.__all__:
        assert hasattr(swr_gateway_client, name), name
    public = {name for name, value in vars(swr_gateway_client).items() if isinstance(value, type)}
    assert public <= set(swr_gateway_client.__all__)
