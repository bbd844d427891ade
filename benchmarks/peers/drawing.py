"""Draws plots as SVG: the median of the rounds as a line, and their range as a shade behind it."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.peers.plots import Panel, Plot
from benchmarks.peers.systems import COLD, WARM

# Inches.
_WIDTH, _HEIGHT = 6.4, 4.0

# The same figures make the same file.
mpl.rcParams["svg.hashsalt"] = "swr-gateway"
# Words stay words: the file is small, and can be searched.
mpl.rcParams["svg.fonttype"] = "none"


def draw(plot: Plot, folder: Path) -> None:
    """Write a plot into a folder."""
    figure = Figure(figsize=(_WIDTH * len(plot.panels), _HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(plot.panels), squeeze=False)[0]
    for panel, where in zip(plot.panels, axes, strict=True):
        _draw(panel, where)
        where.set_xlabel(plot.counted)
    # Beside the panels: inside of one it would hide lines.
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    figure.savefig(folder / f"{plot.name}.svg", metadata={"Date": None})


def _draw(panel: Panel, where: Axes) -> None:
    where.set_title(panel.title)
    where.set_xscale("log")
    where.xaxis.set_major_formatter("{x:g}")
    if not panel.from_zero:
        where.set_yscale("log")
    where.yaxis.set_major_formatter("{x:g}")
    where.grid(visible=True, which="major", alpha=0.3)
    for name, line in panel.lines.items():
        counts = list(line)
        (drawn,) = where.plot(
            counts,
            [point.median for point in line.values()],
            label=name,
            marker=".",
            linewidth=2.5 if name in {WARM, COLD} else 1.2,
        )
        lows, highs = ([getattr(point, end) for point in line.values()] for end in ("low", "high"))
        where.fill_between(counts, lows, highs, color=drawn.get_color(), alpha=0.15, linewidth=0)
    if panel.from_zero:
        where.set_ylim(bottom=0)
