"""docs/settings.md, made of the model of the settings."""

from __future__ import annotations

from docs.generate.markdown import code, prose, table
from gateway.settings.groups import setting_groups
from gateway.settings.model import PREFIX, SECRETS, Settings
from gateway.settings.names import flag, variable
from gateway.settings.spelling import spelling

_BEGINNING = f"""\
<!-- `make docs` writes this page: what it says of a setting is in gateway/settings/model.py. -->
# Settings

Each setting is a flag of `swr-gateway serve`, an environment variable, and a key of the TOML file that `--config`
(`{PREFIX}CONFIG`) names. Flags win over the environment, the environment over the file.

- **Variables** have the prefix `{PREFIX}`, which the tables leave out: `TIMEOUT` is `{PREFIX}TIMEOUT`.
- **Keys** of the file are the variables in small letters: `timeout = "15s"`.
- **Secrets** have no flag, for everyone who can list processes sees flags.
- A `DURATION` is written `500ms`, `15s` or `2m`. A `SIZE` is written `65536`, `512KiB` or `64MiB`.
- What is on or off has two flags, such as `--circuit` and `--no-circuit`, and the values `true` and `false`.

**To check them**, `swr-gateway check-config` takes the same flags, variables and file. It prints what they come to, or
everything that is wrong with them; what it prints is a file for `--config`, with secrets left out. With `--call` it
also sends one request to the upstream, signed in as the gateway would and never sent again, and prints how many
repositories there are, or why it failed and what to mend. Its exit code is 0, 1 where that request failed, or 2 where
settings are wrong. With `passthrough` the token of that request is `--caller-token` or `{PREFIX}TOKEN`.
"""

_END = """
## Tracing

Tracing is off unless `OTEL_TRACES_EXPORTER=otlp`. Where spans go and how many is said by OpenTelemetry's own variables,
such as `OTEL_EXPORTER_OTLP_ENDPOINT` and `OTEL_TRACES_SAMPLER`. `OTEL_EXPORTER_OTLP_TIMEOUT` is a number of seconds
in Python, where other languages take milliseconds: `10000` is nearly three hours. Tracing needs the extra `otel`:
`pip install ./clients/python '.[otel]'`.

## Proxies

`HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` are not used: the gateway connects to the upstream and to IAM directly. It
says so when one of them is set.
"""

_DEFAULTS = Settings.model_construct().model_dump(mode="json")


def settings_page() -> str:
    """Return the page."""
    groups = (f"\n## {title}\n\n{_table(names)}" for title, names in setting_groups().items())
    return _BEGINNING + "".join(groups) + _END


def _table(names: tuple[str, ...]) -> str:
    return table(("flag", "variable", "default", "meaning"), map(_row, names))


def _row(name: str) -> tuple[str, str, str, str]:
    written = _DEFAULTS[name]
    default = {"None": "", "True": "on", "False": "off"}.get(str(written), str(written))
    meaning = prose(str(Settings.model_fields[name].description).removesuffix("."))
    return _flags(name), code(variable(name).removeprefix(PREFIX)), code(default), meaning


def _flags(name: str) -> str:
    if name in SECRETS:
        return ""
    word = spelling(Settings.model_fields[name])
    return code(f"{flag(name)} {word}" if word else flag(name))
