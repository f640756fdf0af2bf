"""Imported by the process that runs are forked from: what every run would load, compile or look up is done once.

Nothing here starts TensorFlow's runtime, whose threads would not live on in a forked process.
"""

from __future__ import annotations

import gc
import importlib
import io

_OURS = ("training.train", "training.resume", "explain", "training.trackers.tensorboard", "runtime.images", "runtime.hub_layer")
_THEIRS = (
    *("scipy.stats", "sklearn.metrics", "sklearn.linear_model", "sklearn.ensemble", "sklearn.neighbors", "sklearn.multioutput"),
    *("pandas", "tensorboard.summary"),
    *("pygments.styles.default", "PIL.JpegImagePlugin", "matplotlib.backends.backend_svg"),
)


def _preload() -> None:
    gc.disable()  # almost everything that is made here stays; searching it for garbage takes 0.4 s in all
    from dlcli.report.page import templates
    from dlcli.report.write_up import MODULES

    for name in (*(f"dlcli.{module}" for module in _OURS), *MODULES, *_THEIRS):
        importlib.import_module(name)
    for name in templates().list_templates(extensions=["html", "js", "css"]):
        templates().get_template(name)
    templates(escapes=False).get_template("card.md")
    _draw()
    _spare_garbage_collector()


def _spare_garbage_collector() -> None:
    """Takes the 450,000 objects that were made out of the reach of the garbage collector.

    Searching them costs every run time, and memory: it writes to the pages that the processes share. A last search here would
    take 0.4 s and free 6,000 of them.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)  # as in dlcli's own process
    gc.enable()


def _draw() -> None:
    """Draws a figure, for which matplotlib searches fonts."""
    import matplotlib.backends.backend_svg
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    figure.subplots().set_title("0")
    FigureCanvasAgg(figure)
    figure.savefig(io.BytesIO(), format="png")
    matplotlib.backends.backend_svg.FigureCanvasSVG(figure).print_svg(io.StringIO())


_preload()
