"""`dlcli explain`: explanations of a run's predictions, as pictures."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dlcli.cli.options import DEFAULT_RUNS, Json, Offline, RunName, RunsFolder, named_run
from dlcli.visible import visible


class Method(StrEnum):
    """The methods of `dlcli explain`."""

    GRAD_CAM = "grad_cam"
    OCCLUSION = "occlusion"
    PERMUTATION = "permutation"
    BOUNDARY = "boundary"
    FILTERS = "filters"
    CLUSTERS = "clusters"


class ClusterMethod(StrEnum):
    """The ways to cluster examples."""

    KMEANS = "kmeans"
    DBSCAN = "dbscan"
    MEAN_SHIFT = "mean_shift"


class Projection(StrEnum):
    """The ways to draw features of many dimensions in a plane."""

    PCA = "pca"
    ICA = "ica"


def explain(
    run: RunName,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Images or texts to explain.  [default: examples of the test split, wrong predictions first]",
        ),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help=(
                "grad_cam, occlusion: image regions; occlusion: words; permutation: table columns; boundary: two numeric"
                " inputs; filters: first layer; clusters: groups of examples.  [default: the first that applies]"
            )
        ),
    ] = None,
    class_name: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Class to explain, in place of the predicted one.")
    ] = "",
    split: Annotated[str, typer.Option(help="Split to explain: train, validation or test.  [default: test]")] = "",
    clusters: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of clusters of kmeans.  [default: as many as classes, else by silhouette]"),
    ] = None,
    cluster_method: Annotated[ClusterMethod | None, typer.Option(help="How to cluster.  [default: kmeans]")] = None,
    projection: Annotated[Projection | None, typer.Option(help="How to draw clusters.  [default: pca]")] = None,
    runs: RunsFolder = DEFAULT_RUNS,
    as_json: Json = False,
    offline: Offline = False,
) -> None:
    """Explain what predictions rely on.

    The methods show image regions, words, table columns, decision boundaries, filters of the first
    layer, and clusters of examples.
    """
    trained_run = named_run(run, runs)

    from dlcli.api.run import Run
    from dlcli.runs.clusters import read_clusters

    skipped: dict[str, str] = {}
    made = Run(trained_run.path).explain(
        files or (),
        method=method or "",
        class_name=class_name,
        split=split,
        clusters=clusters,
        cluster_method=cluster_method or "",
        projection=projection or "",
        offline=offline,
        skip=skipped.__setitem__,
    )
    content = read_clusters(trained_run) if any(explanation.kind == "clusters" for explanation in made) else None
    for name, reason in skipped.items():
        typer.echo(visible(f"skipped {name}: {reason}"), err=True)
    folder = trained_run.explanations_path
    if as_json:
        from dataclasses import asdict

        from dlcli.cli.console import print_json

        entries = [asdict(explanation) for explanation in made]
        more = {} if content is None else {"clusters": content.content()}
        print_json({"run": str(trained_run.path), "folder": str(folder), "explanations": entries, **more})
        return
    for explanation in made:
        print(visible(f"{explanation.title}: {explanation.text}"))
        print(visible(f"  {folder / explanation.file}"))
    if content is not None:
        from dlcli.cli.cluster_table import show_clusters

        show_clusters(content)
