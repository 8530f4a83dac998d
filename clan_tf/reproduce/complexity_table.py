"""Table 5: parameters and multiply-accumulates, which need no training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clan_tf.config import Experiment
from clan_tf.files import write_rows, write_text
from clan_tf.models import complexity
from clan_tf.models.build import build_model
from clan_tf.reproduce.paper import COMPLEXITY_ROWS
from clan_tf.reproduce.tables import markdown
from clan_tf.training.plan import count_classes

THE_PAPERS = ("vgg16_bn", 200, 448)
"""Backbone, classes and photo size of the published numbers."""
AS_PRINTED = {"spatial_batch_norm": False, "mid_pooling": "avg", "head_batch_norm": False}
"""What the paper's network has in place of clan-tf's defaults."""


def write_complexity_table(experiment: Experiment, path: Path) -> tuple[list[Path], list[dict[str, Any]]]:
    """Writes `PATH.md` and `PATH.csv`; returns their paths and the rows as plain values."""
    classes, size = count_classes(experiment), experiment.data.image_size
    backbone = experiment.model.backbone
    is_papers = (backbone, classes, size) == THE_PAPERS
    rows = []
    for method, network, printed_parameters, printed_macs in COMPLEXITY_ROWS:
        model = replace(network, changes={**network.changes, **AS_PRINTED}).applied_to(experiment.model)
        cost = complexity(build_model(experiment.model_copy(update={"model": model}), classes, load_weights=False))
        rows.append(
            {
                "method": method if is_papers else method.replace("VGG-16", f"{backbone}, three heads"),
                "parameters": sum(cost.parameters.values()),
                "macs": sum(cost.macs.values()),
                "relation_macs": sum(relation.macs for relation in cost.relations.values()),
                "paper_parameters_millions": printed_parameters if is_papers else None,
                "paper_macs_billions": printed_macs if is_papers else None,
            }
        )
    write_rows(path.with_suffix(".csv"), rows)
    write_text(path.with_suffix(".md"), _complexity_page(rows, backbone, classes, size))
    return [path.with_suffix(".md"), path.with_suffix(".csv")], rows


def _complexity_page(rows: Sequence[dict[str, Any]], backbone: str, classes: int, size: int) -> str:
    columns = ("method", "parameters (M)", "paper", "MACs (G)", "paper", "matrix products of the relations (G)")
    cells = [
        (
            row["method"],
            f"{row['parameters'] / 1e6:.2f}",
            "" if row["paper_parameters_millions"] is None else f"{row['paper_parameters_millions']:.2f}",
            f"{row['macs'] / 1e9:.2f}",
            "" if row["paper_macs_billions"] is None else f"{row['paper_macs_billions']:.2f}",
            f"{row['relation_macs'] / 1e9:.2f}",
        )
        for row in rows
    ]
    heading = ["Table 5: parameters and multiply-accumulates", f"{backbone}, {size} px, {classes} classes."]
    notes = [
        "MACs by the paper's convention: one per bias and ReLU output, two per batch-norm output, one per max-pool "
        "input; the relations' matrix products aren't included.",
        "The first row has a head on each of three maps, as the paper's numbers for `VGG-16` imply.",
    ]
    if all(row["paper_macs_billions"] is not None for row in rows):
        equal = all(
            f"{row['parameters'] / 1e6:.2f}" == f"{row['paper_parameters_millions']:.2f}"
            and f"{row['macs'] / 1e9:.2f}" == f"{row['paper_macs_billions']:.2f}"
            for row in rows
        )
        notes.insert(0, f"All numbers {'equal' if equal else 'do NOT equal'} the paper's.")
    return markdown(heading, columns, cells, notes)
