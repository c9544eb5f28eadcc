"""The figures of `benchmark.json` as a page and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Figures = Mapping[str, Any]

_BARS = (
    ("windows_vs_stock", "Stock SAM2 / ours, windows", True),
    ("whole_frame_vs_stock", "Stock SAM2 / ours, whole frame", True),
    ("pipeline_vs_yolo_bytetrack", "Ours / YOLOv10n@640 + ByteTrack", False),
)


def write_report(folder: Path, figures: Figures) -> list[Path]:
    """Write benchmark.md, and benchmark.png if there is something to draw and matplotlib to draw it with.

    Returns:
        The files written.
    """
    picture = folder / "benchmark.png"
    drawn = draw(picture, figures)
    page = folder / "benchmark.md"
    page.write_text("\n".join(_page(figures, picture.name if drawn else None)) + "\n", encoding="utf-8")
    return [page, picture] if drawn else [page]


def draw(path: Path, figures: Figures) -> bool:
    """Draw ratios over the number of targets, with quartiles, and the shares of a frame's time.

    Returns:
        Whether a picture was written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False

    panels = [(key, title, more) for key, title, more in _BARS if _has(figures, key)]
    steps = _steps(figures)
    if not panels and not steps:
        return False
    count = len(panels) + bool(steps)
    figure = Figure(figsize=(4.2 * count, 3.6), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)
    for axis, (key, title, more) in zip(axes[0], panels, strict=False):
        _draw_ratios(axis, figures, key)
        axis.set_title(f"{title}\n({'more' if more else 'less'} is better)", fontsize=9)
    if steps:
        _draw_steps(axes[0][-1], steps)
    figure.savefig(path, dpi=110)
    return True


def _draw_ratios(axis: Any, figures: Figures, key: str) -> None:
    numbers = list(figures[key])
    spreads = [_ratio(figures, key, number) for number in numbers]
    middle = [item["median"] for item in spreads]
    errors = [[item["median"] - item["q1"] for item in spreads], [item["q3"] - item["median"] for item in spreads]]
    bars = axis.bar(numbers, middle, yerr=errors, capsize=4, color="#4878a8")
    axis.bar_label(bars, [f"{value:.3g}" for value in middle], label_type="center", color="white", fontsize=9)
    axis.axhline(1.0, color="black", linewidth=0.8)
    axis.set_xlabel("targets")


def _draw_steps(axis: Any, steps: Mapping[str, Figures]) -> None:
    names = list(steps)[::-1]
    colors = ["#4878a8" if steps[name]["network"] else "#d08040" for name in names]
    axis.barh(names, [steps[name]["cpu_ms"] for name in names], color=colors)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_xlabel("CPU ms per frame")
    axis.set_title("Where a frame's time goes\n(blue: networks)", fontsize=9)


def _page(figures: Figures, picture: str | None) -> Iterable[str]:
    machine = figures["machine"]
    yield from (
        "# Speed",
        "",
        "Written by `smotracker benchmark`. What each figure means, and what limits it, stands in",
    )
    yield from ("the project's docs/benchmarks_speed.md.", "")
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield (
        f"Measured on {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, {versions}; {machine['threads']} thread(s) per side; "
        f"load before the start {machine['load_before']}."
    )
    yield ""
    if picture:
        yield from (f"![Ratios and shares]({picture})", "")
    for title, key, part, writer in (
        ("The propagator against the stock SAM2 predictor", "windows_vs_stock", "stock", _stock_section),
        ("The tracker against YOLOv10n@640 + ByteTrack", "pipeline_vs_yolo_bytetrack", "pipeline", _pipeline_section),
        ("Outside the networks", "non_network_share", "share", _share_section),
        ("Growth", "growth", "growth", _growth_section),
        ("The ROS node", "ros", "ros", _ros_section),
        ("Start", "start", "start", _start_section),
    ):
        if key not in figures:
            continue
        yield from (f"## {title}", "")
        if _left_out(figures[key]):
            yield from (f"Left out: {figures[key]['left_out']}.", "")
        else:
            yield from writer(figures[key], figures["spreads"][part])
            yield ""


def _stock_section(key: Figures, details: Figures) -> Iterable[str]:
    settings = details["settings"]
    yield (
        f"SAM2.1 tiny with random weights and full memories, {settings['width']}x{settings['height']} frames; stock "
        f"and whole frame at {settings['image_size']} pixels, windows at {settings['window_size']}. CPU milliseconds "
        "per frame; ratios are stock / ours, median (minimum to maximum)."
    )
    rows = []
    for number, item in details["targets"].items():
        rows.append(
            [
                number,
                *(_number(item[side]["cpu_ms"]["median"]) for side in ("stock", "whole_frame", "windows")),
                _range(item["whole_frame_vs_stock"]),
                _range(item["windows_vs_stock"]),
                " / ".join(_number(item[side]["peak_mib"]) for side in ("stock", "whole_frame", "windows")),
                f"{item['largest_logit_difference']:.1e} of {item['logit_span']}",
            ]
        )
    yield from _table(
        (
            "targets",
            "stock ms",
            "whole frame ms",
            "windows ms",
            "whole frame ratio",
            "windows ratio",
            "peak MiB, stock / whole / windows",
            "logits differ by",
        ),
        rows,
    )


def _pipeline_section(key: Figures, details: Figures) -> Iterable[str]:
    settings = details["settings"]
    yield (
        f"{settings['width']}x{settings['height']} rendered frames, blocks of {settings['block_frames']}. CPU "
        "milliseconds per frame; the ratio is ours / theirs, median of the blocks (quartiles)."
    )
    rows = [
        [
            number,
            _number(item["ours"]["cpu_ms"]["median"]),
            _number(item["yolo_bytetrack"]["cpu_ms"]["median"]),
            _quartiles(item["ratio"]),
            item["ratio_with_as_many_masklets"] or "?",
            item["mean_visible_targets"],
            item["mean_live_masklets"],
            item["detector_frames_per_frame"],
            f"{_number(item['ours']['peak_mib'])} / {_number(item['yolo_bytetrack']['peak_mib'])}",
        ]
        for number, item in details["targets"].items()
    ]
    yield from _table(
        (
            "targets",
            "ours ms",
            "theirs ms",
            "ratio",
            "with as many masklets",
            "visible",
            "masklets",
            "frames seen by the detector per frame",
            "peak MiB, ours / theirs",
        ),
        rows,
    )
    line = details["cost_of_ours"]
    if line:
        yield ""
        yield (
            f"A straight line through the blocks of ours: {line['frame_ms']} ms per frame, and {line['masklet_ms']} ms "
            "per masklet."
        )


def _share_section(key: float, details: Figures) -> Iterable[str]:
    targets = details["targets"]
    shares = "; ".join(
        f"{number} target(s): {_percent(item['non_network_share']['median'])} "
        f"({_percent(item['non_network_share_without_drawing']['median'])} without drawing)"
        for number, item in targets.items()
    )
    yield f"Share of the CPU time of a frame that is not spent in a network. {shares}."
    names = list(dict.fromkeys(step for item in targets.values() for step in item["steps"]))
    rows = []
    for name in names:
        cells = [item["steps"].get(name) for item in targets.values()]
        network = any(cell and cell["network"] for cell in cells)
        texts = [f"{_number(cell['cpu_ms'])} ({_percent(cell['share'])})" if cell else "" for cell in cells]
        rows.append([name, "network" if network else "", *texts])
    yield from _table(("step", "", *(f"{number} target(s), ms" for number in targets)), rows)


def _growth_section(key: Figures, details: Figures) -> Iterable[str]:
    yield (
        f"A stream of {details['frames']} frames. Time per frame at the end / at the start: "
        f"{_range(details['time_ratio'])}; resident memory: {key['rss_ratio']}."
    )
    rows = [
        [
            index + 1,
            cycle["frames"],
            _number(cycle["mean_cpu_ms"]),
            cycle["rss_mib"],
            cycle["memory_banks_mib"],
            cycle["mean_live_masklets"],
            cycle["objects_so_far"],
        ]
        for index, cycle in enumerate(details["cycles"])
    ]
    yield from _table(
        ("cycle", "frames", "CPU ms", "resident MiB", "memory banks MiB", "masklets", "objects so far"), rows
    )
    for title, name in (("targets", "by_targets"), ("frame", "by_size")):
        yield ""
        rows = [
            [label, _number(item["mean_cpu_ms"]), _number(item["peak_mib"]), item["mean_live_masklets"]]
            for label, item in details[name].items()
        ]
        yield from _table((title, "CPU ms", "peak MiB", "masklets"), rows)


def _ros_section(key: Figures, details: Figures) -> Iterable[str]:
    settings = details["settings"]
    yield (
        f"{settings['width']}x{settings['height']} images at {settings['fps']:g} per second from one process to the "
        "node in another; medians (quartiles)."
    )
    rows = [
        ["images answered, every one queued", f"{key['frames_delivered']} of {key['frames_sent']}"],
        ["latency that the node adds to the tracker", f"{_quartiles(details['overhead']['added_latency_ms'])} ms"],
        ["CPU time of the node beyond the tracker", f"{key['added_cpu_ms_per_frame']} ms per frame"],
        ["CPU time of the tracker", f"{key['tracker_cpu_ms_per_frame']} ms per frame"],
        ["CPU time of the camera", f"{key['camera_cpu_ms_per_frame']} ms per frame"],
    ]
    if "latest" in details:
        rows += [
            ["answers per second, latest image only", key["live_frames_per_second"]],
            ["age of those answers", f"{_quartiles(details['latest']['age_ms'])} ms"],
            ["SAM2 looks per frame then, and looks that had to wait", _looks(details["latest"])],
            ["what the node says of itself", details["latest"].get("health", "")],
        ]
    yield from _table(("", ""), rows)


def _looks(figures: Figures) -> str:
    if "looks_per_frame" not in figures:
        return ""
    return f"{figures['looks_per_frame']:g} and {figures['waiting_per_frame']:g}"


def _start_section(key: Figures, details: Figures) -> Iterable[str]:
    yield "Seconds, medians (minimum to maximum)."
    names = {
        "help_seconds": "`smotracker --help`",
        "help_cpu_seconds": "`smotracker --help`, CPU time",
        "active_seconds": "the node, from its process's start until it is active",
        "active_cpu_seconds": "CPU time until then",
        "first_answer_seconds": "from a first image to its answer",
        "first_answer_cpu_seconds": "CPU time for it",
    }
    yield from _table(("", ""), [[text, _range(details[name])] for name, text in names.items() if name in details])


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[str]:
    yield ""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"


def _range(item: Figures) -> str:
    return f"{item['median']:.3g} ({item['min']:.3g} to {item['max']:.3g})"


def _quartiles(item: Figures) -> str:
    return f"{item['median']:.3g} ({item['q1']:.3g} to {item['q3']:.3g})"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _left_out(value: object) -> bool:
    return isinstance(value, Mapping) and "left_out" in value


def _has(figures: Figures, key: str) -> bool:
    return key in figures and not _left_out(figures[key])


def _ratio(figures: Figures, key: str, number: str) -> Figures:
    """Spread of one ratio."""
    part, name = ("pipeline", "ratio") if key.startswith("pipeline") else ("stock", key)
    item: Figures = figures["spreads"][part]["targets"][number][name]
    return item


def _steps(figures: Figures) -> Mapping[str, Figures]:
    """Steps of a frame with the middle number of targets; empty if they were not measured."""
    if not _has(figures, "non_network_share"):
        return {}
    targets = list(figures["spreads"]["share"]["targets"].values())
    steps: Mapping[str, Figures] = targets[min(1, len(targets) - 1)]["steps"]
    return steps
