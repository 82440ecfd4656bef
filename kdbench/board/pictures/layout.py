"""Where the panels of a picture stand."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_PAD = 3.0
"""The least room between two things, in points."""


class _Beyond(NamedTuple):
    """How far what belongs to a panel reaches beyond it, in pixels."""

    left: float
    right: float
    below: float
    above: float


def settle(figure: Figure) -> None:
    """Lay `figure` out for good, so that what is placed by pixels afterwards stays there.

    Its panels stand side by side below its title, if it has one, and above its legend. Each text is measured once;
    matplotlib's own engines measure all of them over and over, which takes longer than to draw them.
    """
    width, height = figure.bbox.size
    pad = _PAD * figure.dpi / 72
    # Near to where the panels will stand, so that their axes have the ticks that they will have there.
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.2, top=0.9, wspace=0.1)
    panels = [_beyond(axes) for axes in figure.axes]
    above = 0.0
    for heading in figure.texts:
        heading.set_y(1 - pad / height)
        above += heading.get_window_extent().height + pad
    below = sum(legend.get_window_extent().height + 2 * pad for legend in figure.legends)
    between = max([0.0, *(one.right + other.left + 2 * pad for one, other in pairwise(panels))])
    left, right = panels[0].left + pad, panels[-1].right + pad
    panel_width = (width - left - right - between * (len(panels) - 1)) / len(panels)
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=(max(one.below for one in panels) + pad + below) / height,
        top=1 - (max(one.above for one in panels) + pad + above) / height,
        wspace=between / panel_width,
    )


def _beyond(axes: Axes) -> _Beyond:
    panel, box = axes.bbox, axes.get_tightbbox(for_layout_only=True)
    if box is None:
        return _Beyond(0, 0, 0, 0)
    return _Beyond(panel.x0 - box.x0, box.x1 - panel.x1, panel.y0 - box.y0, box.y1 - panel.y1)
