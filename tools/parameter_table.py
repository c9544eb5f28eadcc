"""Writes docs/parameters.md, also on launch arguments, from the declarations: `python tools/parameter_table.py`.

With `--check` it only compares.
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
import sys
from collections.abc import Iterable
from pathlib import Path

from made_pages import write_or_check

from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.presets import PRESETS, load_settings
from smotracker_ros.ros import bag_player, follow_parameters, fusion_parameters, recorder
from smotracker_ros.ros.launch_arguments import SHARED
from smotracker_ros.ros.node_parameters import GIVEN_AT_START, NodeParameter
from smotracker_ros.ros.parameters import PARAMETERS, setting_parameters
from smotracker_ros.space.fusion.settings import FusionSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "parameters.md"

HEAD = """# Parameters and launch arguments

Made from the declarations by `python tools/parameter_table.py`. "Live" parameters may change at any time and take
effect with the next image; the tracker's others while the node is unconfigured, and those of player and recorder at
their start. The tracker's settings are also those of `smotracker track --set NAME=VALUE` and of `smotracker bag`.
"""


def _value(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value}`" if value != "" else "empty"


def _allowed(parameter: NodeParameter) -> str:
    if parameter.choices:
        return ", ".join(parameter.choices)
    if parameter.minimum is not None and parameter.maximum is not None:
        return f"{parameter.minimum:g} to {parameter.maximum:g}"
    return type(parameter.default).__name__


def _table(parameters: Iterable[NodeParameter], live: bool) -> str:
    """Rows of a Markdown table; `live`: with a column that tells which may change at any time."""
    rows = ["| name | default | allowed | meaning |" + (" live |" if live else "")]
    rows.append("|---|---|---|---|" + ("---|" if live else ""))
    for item in parameters:
        row = f"| `{item.name}` | {_value(item.default)} | {_allowed(item)} | {item.description} |"
        when = "yes" if item.dynamic else "at the start" if item.name in GIVEN_AT_START else ""
        rows.append(f"{row} {when} |" if live else row)
    return "\n".join(rows) + "\n"


def _launch_row(name: str, default: str, description: str, choices: Iterable[str]) -> str:
    named = ", ".join(filter(None, choices))
    return f"| `{name}` | {default} | {description}" + (f" One of {named}." if named else "") + " |"


def _launch_table(file: Path) -> str:
    """Arguments of a launch file, read from its text: ROS's launch need not be installed."""
    rows = ["| argument | default | meaning |", "|---|---|---|"]
    for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            continue
        if call.func.id == "shared_argument":
            name, *own = map(ast.literal_eval, call.args)
            shared = SHARED[name]
            rows.append(
                _launch_row(name, _value(shared.default), own[0] if own else shared.description, shared.choices)
            )
        if call.func.id != "DeclareLaunchArgument":
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        default = given.get("default_value")
        if default is None:
            shown = "must be given"
        elif isinstance(default, ast.Constant) and isinstance(default.value, str):
            shown = _value(default.value)
        else:
            raise ValueError(f"{file.name}: the default of {ast.literal_eval(call.args[0])} is no plain text")
        choices = ast.literal_eval(given["choices"]) if "choices" in given else ()
        rows.append(_launch_row(ast.literal_eval(call.args[0]), shown, ast.literal_eval(given["description"]), choices))
    return "\n".join(rows) + "\n"


def page() -> str:
    """The whole page."""
    parameters = {parameter.name: parameter for parameter in setting_parameters(load_settings())}
    parts = [HEAD, "## The node `tracker_node`\n", _table(PARAMETERS, live=True)]
    parts += ["## The tracker's settings\nDefaults are those of the preset `y-smotracker`.\n"]
    for group, settings in itertools.groupby(dataclasses.fields(TrackerSettings), lambda one: one.metadata["group"]):
        parts += [f"### {group}\n", _table((parameters[setting.name] for setting in settings), live=True)]
    parts += ["## Presets\nWhat each preset changes:\n"]
    rows = ["| preset | settings |", "|---|---|"]
    for name, changes in PRESETS.items():
        rows.append(f"| `{name}` | {', '.join(f'`{key}`: {_value(value)}' for key, value in changes.items())} |")
    parts += ["\n".join(rows) + "\n"]
    parts += ["## The node `fusion_node`\n", _table(fusion_parameters.PARAMETERS, live=True)]
    parts += ["### The fusion's settings\nAlso those of `smotracker fuse --set NAME=VALUE`.\n"]
    parts += [_table(setting_parameters(FusionSettings()), live=True)]
    parts += ["## The node `follow_node`\n", _table(follow_parameters.PARAMETERS, live=True)]
    parts += ["## The player `bag_player`\n", _table(bag_player.PARAMETERS, live=False)]
    parts += ["## The recorder `recorder`\n", _table(recorder.PARAMETERS, live=False)]
    for file in sorted((PAGE.parents[1] / "launch").glob("*.launch.py")):
        parts += [f"## The launch file `{file.name}`\n", _launch_table(file)]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page()))
