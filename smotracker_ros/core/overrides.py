"""Settings from text, as a command line has them: `name=value`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from smotracker_ros.core.retired_settings import about_unknown
from smotracker_ros.core.settings import SettingsError, TrackerSettings

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def parse_overrides(texts: Iterable[str] | None) -> dict[str, Any]:
    """Settings from several `name=value`, each name once; see :func:`parse_override`.

    Raises:
        SettingsError: if one cannot be used, or a setting is given twice.
    """
    overrides: dict[str, Any] = {}
    for text in texts or ():
        name, value = parse_override(text)
        if name in overrides:
            raise SettingsError(f"{name} is set twice, to {overrides[name]!r} and to {value!r}; give it once")
        overrides[name] = value
    return overrides


def parse_override(text: str) -> tuple[str, Any]:
    """Split `name=value` and give the value the type of the setting.

    Raises:
        SettingsError: if there is no such setting, or the value is not of its type.
    """
    name, separator, value = text.partition("=")
    name, value = name.strip(), value.strip()
    fields = {field.name: field for field in dataclasses.fields(TrackerSettings)}
    if not separator:
        raise SettingsError(f"--set needs NAME=VALUE, not {text!r}")
    if name not in fields:
        meant = about_unknown(name, fields, f"; there are: {', '.join(sorted(fields))}")
        raise SettingsError(f"unknown setting {name}{meant}")
    kind: type[Any] = type(fields[name].default)
    if kind is bool:
        if value.lower() not in _TRUE + _FALSE:
            raise SettingsError(f"{name} must be true or false, not {value!r}")
        return name, value.lower() in _TRUE
    try:
        return name, kind(value)
    except ValueError as error:
        raise SettingsError(f"{name} must be of type {kind.__name__}, not {value!r}") from error
