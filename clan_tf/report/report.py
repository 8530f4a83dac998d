"""Writing the report of a run directory."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup

from clan_tf.config import Experiment, flatten
from clan_tf.data import Source
from clan_tf.errors import UserError
from clan_tf.evaluation import DRAWN, calibration_error, interval_text, reliability_bins, risk_curve
from clan_tf.files import require_file_or_nothing, require_folder_or_nothing, write_text
from clan_tf.inference import locate_keras
from clan_tf.models import COMBINED, BranchClassifier, complexity, load_model
from clan_tf.models.build import build_model
from clan_tf.progress import Progress
from clan_tf.report.charts import (
    confusion_chart,
    confusion_overview,
    curves_chart,
    reliability_chart,
    risk_chart,
)
from clan_tf.report.examples import Examples
from clan_tf.report.facts import RunFacts, read_facts
from clan_tf.report.levels import describe_levels
from clan_tf.report.losses import describe_losses
from clan_tf.report.page import style, templates
from clan_tf.report.statistics import (
    confused_groups,
    similar_order,
)
from clan_tf.report.unsure import describe_unsure
from clan_tf.run import RunDirectory, is_run

PAIRS, MISTAKES, GROUPS, HARDEST = 8, 12, 6, 12
"""How many confused pairs, worst mistakes, groups of classes and hardest classes are shown."""
FEW_CLASSES = 40
"""Up to this many classes, the whole confusion matrix is shown expanded."""


def write_report(
    run: str, output: Path | None = None, progress: Progress | None = None, overrides: Sequence[str] = ()
) -> Path:
    """Writes a run's report: one HTML file that needs no network and runs no scripts.

    It covers the test photos, or the validation photos if the data has no test split. The run is evaluated first if
    necessary.

    Args:
        run: a run directory.
        output: the file to write; `report.html` in the run directory if `None`.
        progress: where progress is shown.
        overrides: `KEY=VALUE` strings that say where the run's photos are now.

    Returns:
        The file.

    Raises:
        UserError: if `run` isn't a run directory, or it isn't evaluated and can't be.
    """
    progress = progress or Progress()
    if output or is_run(Path(run)):
        planned = output or RunDirectory(run).report
        require_file_or_nothing(planned)
        require_folder_or_nothing("--output", planned.parent)
    with progress.track("reading the run and drawing", 3) as advance:
        facts, source, notes = read_facts(run, progress, overrides)
        advance()
        examples = _examples(facts, source, notes)
        advance()
        page = _render(facts, examples, notes)
        advance()
    path = output or facts.run.report
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _render(facts: RunFacts, examples: dict[str, Any], notes: Sequence[str]) -> str:
    bins = reliability_bins(facts.confidence, facts.correct)
    classes = facts.classes()
    model = build_model(facts.experiment, len(facts.class_names), load_weights=False)
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            style=style(),
            facts=facts,
            notes=notes,
            network=_describe_network(facts.experiment),
            branches=facts.branches,
            combined=facts.branches[COMBINED],
            top5=facts.top5,
            over_groups=interval_text(facts.groups) if facts.groups else None,
            class_mean=float(np.mean([one.share.value for one in classes])),
            calibration_error=calibration_error(facts.confidence, facts.correct),
            calibration=facts.calibration,
            levels=describe_levels(facts.levels),
            mean_confidence=float(facts.confidence.mean()),
            classes=classes,
            hardest=[one for one in classes if one.share.value < 1][:HARDEST],
            curves={
                kind: _image(curves_chart(facts.epochs, kind, facts.status.get("best_epoch")))
                for kind in ("accuracy", "loss")
            },
            reliability=_image(reliability_chart(bins)),
            uncalibrated=_image(reliability_chart(raw)) if (raw := facts.uncalibrated_bins) else None,
            unsure=describe_unsure(facts.selective, facts.unknown, facts.experiment.training.accept_error),
            risk=_image(risk_chart(risk_curve(facts.confidence, ~facts.correct))),
            confusion=_confusion(facts),
            examples=examples,
            cost=_cost(facts, model),
            losses=describe_losses(model, facts.experiment.training),
            changed=_changed_keys(facts.experiment),
            config=facts.experiment.to_yaml(),
        )
    )


def _confusion(facts: RunFacts) -> dict[str, Any]:
    is_large = len(facts.class_names) > FEW_CLASSES
    groups = confused_groups(facts.cells)[:GROUPS] if is_large else []
    charts = [
        _safe(confusion_chart(facts.cells.part(group), [facts.class_names[i] for i in group], 26)) for group in groups
    ]
    if len(facts.class_names) > DRAWN:
        return {"is_large": True, "whole": None, "overview": None, "groups": charts}
    order = similar_order(facts.cells.dense())
    matrix, names = facts.cells.part(order), [facts.class_names[label] for label in order]
    return {
        "is_large": is_large,
        "whole": _safe(confusion_chart(matrix, names, 15 if is_large else 20)),
        "overview": Markup(confusion_overview(matrix, names)) if is_large else None,
        "groups": charts,
    }


def _safe(chart: dict[str, Any]) -> dict[str, Any]:
    return {key: Markup(value) if isinstance(value, str) else value for key, value in chart.items()}


def _examples(facts: RunFacts, source: Source | None, notes: list[str]) -> dict[str, Any]:
    """Collects the confused pairs and the worst mistakes, with pictures if the photos are available."""
    names = [row["photo"] for row in facts.predictions]
    pairs = [_pair(facts, *pair) for pair in facts.cells.mistakes()[:PAIRS]]
    wrong = np.flatnonzero(~facts.correct)
    worst = wrong[np.argsort(-facts.confidence[wrong], kind="stable")][:MISTAKES]
    wanted = [(names[i], int(label)) for i in worst for label in (facts.predicted[i], facts.labels[i])]
    for pair in pairs:
        wanted += [(names[pair["index"]], pair["predicted"]), (names[pair["index"]], pair["true"])]
        if pair["typical"] is not None:
            wanted.append((names[pair["typical"]], pair["predicted"]))
    pictures = _pictures(facts, source, wanted, notes) if source else None

    def shown(index: int, label: int) -> dict[str, Any]:
        return {
            "name": Path(names[index]).name,
            "photo": pictures and pictures.photo(names[index]),
            "evidence": pictures and pictures.evidence(names[index], label),
        }

    return {
        "pairs": [
            pair
            | {
                "mistaken": shown(pair["index"], pair["predicted"]),
                "for_true": shown(pair["index"], pair["true"]),
                "other": None if pair["typical"] is None else shown(pair["typical"], pair["predicted"]),
            }
            for pair in pairs
        ],
        "worst": [
            shown(int(i), int(facts.predicted[i]))
            | {
                "true": facts.class_names[facts.labels[i]],
                "predicted": facts.class_names[facts.predicted[i]],
                "confidence": float(facts.confidence[i]),
            }
            for i in worst
        ],
    }


def _pictures(facts: RunFacts, source: Source, wanted: Sequence[tuple[str, int]], notes: list[str]) -> Examples:
    """Reads and explains the example photos; notes how many can't be read."""
    pictures = Examples(source, _model(facts, notes))
    if missing := pictures.prepare(wanted):
        notes.append(f"{missing} of the example photos can no longer be read.")
    return pictures


def _pair(facts: RunFacts, true: int, predicted: int, photos: int) -> dict[str, Any]:
    """Describes a confused pair by its most confident mistake and most confident correct photo of the other class."""
    mistakes = np.flatnonzero((facts.labels == true) & (facts.predicted == predicted))
    right = np.flatnonzero((facts.labels == predicted) & facts.correct)
    return {
        "true": true,
        "predicted": predicted,
        "photos": photos,
        "of": int((facts.labels == true).sum()),
        "back": int(((facts.labels == predicted) & (facts.predicted == true)).sum()),
        "index": int(mistakes[facts.confidence[mistakes].argmax()]),
        "typical": int(right[facts.confidence[right].argmax()]) if len(right) else None,
    }


def _model(facts: RunFacts, notes: list[str]) -> BranchClassifier | None:
    try:
        return load_model(locate_keras(facts.run.path).file)
    except UserError as error:
        notes.append(f"There are no heat maps, because the model can't be loaded: {error}")
        return None


def _cost(facts: RunFacts, model: BranchClassifier) -> dict[str, Any]:
    cost = complexity(model)
    seconds = facts.status.get("seconds")
    return {
        "parts": {
            part: (cost.parameters[part], cost.macs[part])
            for part in cost.parameters
            if cost.parameters[part] or cost.macs[part]
        },
        "parameters": sum(cost.parameters.values()),
        "macs": sum(cost.macs.values()),
        "relation_macs": sum(relation.macs for relation in cost.relations.values()),
        "epoch_seconds": seconds and seconds / len(facts.epochs),
        "training_seconds": seconds,
    }


def _describe_network(experiment: Experiment) -> str:
    model = experiment.model
    simple = {
        "plain": "one head",
        "bcnn": "bilinear pooling",
        "cbp": f"compact bilinear pooling to {model.cbp.sketch_dim:,} features",
        "tasn": "photos resampled by trilinear attention",
        "ra_cnn": f"squares of the photo, {model.ra_cnn.crops} of them",
        "ma_cnn": f"attention to {model.ma_cnn.parts} parts",
        "dbt": f"products of channels within {model.dbt.groups} groups",
        "mamc": f"{model.mamc.attentions} attentions over channels",
        "dfb": f"a bank of {model.dfb.filters_per_class} filters for each class",
        "lrbp": f"low-rank bilinear pooling of {model.lrbp.projection_dim} channels",
    }
    if model.architecture in simple:
        return f"{model.backbone} with {simple[model.architecture]}"
    scales = len(model.mid) + 1 if model.mid else model.scales or 2
    attention = " and spatial attention" if model.spatial_attention else ""
    refinement = {"gap": "plain pooling", "non_local": "non-local blocks", "clca": "context attention"}
    return f"{scales}-scale CLAN on {model.backbone} with {refinement[model.mid_refinement]}{attention}"


def _changed_keys(experiment: Experiment) -> list[tuple[str, str]]:
    """Returns the keys that differ from their defaults, and their values as YAML."""
    changed = []
    for section in ("data", "model", "training"):
        values, defaults = getattr(experiment, section), type(getattr(experiment, section))()
        own, usual = (dict(flatten(each.model_dump(mode="json"))) for each in (values, defaults))
        changed += [
            (f"{section}.{key}", yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip())
            for key, value in own.items()
            if value != usual.get(key)
        ]
    return changed


def _image(svg: str) -> Markup:
    """Converts SVG to an image's `data:` URL, so that its ids can't clash with those of another."""
    return Markup("data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode())
