"""The table of the clusters of a run's examples."""

from __future__ import annotations

from rich.table import Table

from dlcli.cli.console import results_console, shown
from dlcli.runs.clusters import Cluster, ClustersFile
from dlcli.runs.layout import CLUSTERS
from dlcli.runs.numbers import short_number

_MOST_ROWS, _MOST_TARGETS, _MOST_NAMED = 20, 3, 3


def show_clusters(content: ClustersFile) -> None:
    """Prints the size of each cluster, its most frequent label or its targets, and the examples nearest to its centre."""
    console, targets = results_console(), list(content.clusters[0].targets)[:_MOST_TARGETS] if content.clusters else []
    table = Table("cluster", "examples", *(targets or ["most frequent label"]), "silhouette", "nearest to the centre")
    for cluster in content.clusters[:_MOST_ROWS]:
        cells = [_spread(cluster, name) for name in targets] or [f"{cluster.label} ({cluster.share or 0:.0%})"]
        nearest = ", ".join(cluster.nearest[:_MOST_NAMED])
        table.add_row(str(cluster.cluster), f"{cluster.examples:,}", *cells, shown(cluster.silhouette), nearest)
    if content.noise:
        table.add_row("noise", f"{content.noise:,}", *("-" for _ in range(len(table.columns) - 2)))
    console.print(table)
    hidden = len(content.clusters) - _MOST_ROWS
    if hidden > 0:
        console.print(f"and {hidden:,} smaller clusters, in {CLUSTERS}")


def _spread(cluster: Cluster, name: str) -> str:
    spread = cluster.targets[name]
    return f"{short_number(spread.mean or 0.0)} ± {short_number(spread.deviation or 0.0)}"
