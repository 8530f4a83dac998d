"""The paper's tables: what each row trains or counts, and the numbers it reports."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clan_tf.config import DataConfig, ModelConfig, drop_ignored

DATA_SETS = {"cub": "CUB-200-2011", "cars": "Stanford Cars", "aircraft": "FGVC-Aircraft"}
_CLASSES = {"cub": 200, "cars": 196, "aircraft": 100}
_SOURCES = {"tfds:caltech_birds2011": "cub", "tfds:cars196": "cars"}

Numbers = Mapping[str, Mapping[str, float]]
"""Accuracies in percent, by backbone and data set."""


@dataclass(frozen=True)
class Network:
    """A network that a row trains.

    Attributes:
        name: names its run directories.
        changes: keys of the config's `model` section.
    """

    name: str
    changes: Mapping[str, Any] = field(hash=False)

    def applied_to(self, model: ModelConfig) -> ModelConfig:
        """Returns a section with the changes; what the network's architecture ignores has its default."""
        values = model.model_dump()
        drop_ignored(values, self.changes["architecture"])
        return ModelConfig.model_validate({**values, **self.changes})


@dataclass(frozen=True)
class Row:
    """One accuracy of a table.

    Attributes:
        method: the row's name in the paper.
        network: what is trained.
        group: the column it is in, if the table has several; rows are compared within their group.
        branches: which branches are combined; those that the model combines if `None`.
        printed: the paper's accuracy.
        key: what `--rows` calls it; the network's name if it is empty.
    """

    method: str
    network: Network
    group: str = ""
    branches: tuple[str, ...] | None = None
    printed: Numbers = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True)
class Table:
    """One table of accuracies.

    Attributes:
        title: what it compares.
        rows: its rows.
        baseline: the method that the others of a group are compared with.
        caption: what the reader must know of its rows.
        shows_costs: whether it has the networks' parameters, operations and size, too.
    """

    title: str
    rows: tuple[Row, ...]
    baseline: str
    caption: str = ""
    shows_costs: bool = False

    @property
    def keys(self) -> list[str]:
        """What `--rows` calls the rows, or the networks of several rows."""
        return list(dict.fromkeys(row.key or row.network.name for row in self.rows))

    def only(self, keys: Collection[str]) -> "Table":
        """Returns the table with some of its rows."""
        return replace(self, rows=tuple(row for row in self.rows if (row.key or row.network.name) in keys))


def clan(
    scales: int, refinement: str = "clca", relation: str = "dot_product", spatial_pooling: str | None = None
) -> Network:
    """Returns a network of Tables 1 to 4 and 6; without `spatial_pooling` it has no spatial attention."""
    parts = [refinement]
    if refinement != "gap":
        parts.append(relation)
    if spatial_pooling:
        parts.append(f"clsa_{spatial_pooling}")
    changes = {
        "architecture": "clan",
        "scales": scales,
        "mid": None,
        "mid_refinement": refinement,
        "relation": relation,
        "spatial_attention": spatial_pooling is not None,
        "spatial_pooling": spatial_pooling or "avg_max",
    }
    return Network("-".join([*parts, f"{scales}scale"]), changes)


PLAIN = Network("plain", {"architecture": "plain"})
FULL_CLAN = clan(3, spatial_pooling="avg_max")
REFINEMENTS = {"GAP": clan(3, "gap"), "Non-local": clan(3, "non_local"), "CLCA": clan(3)}


def _vgg(*accuracies: float) -> Numbers:
    return {"vgg16": dict(zip(DATA_SETS, accuracies, strict=False))}


def _by_scale(label: str, networks: tuple[Network, Network], accuracies: tuple[float, float]) -> tuple[Row, ...]:
    return tuple(
        Row(label, network, f"{scales}-scale", printed=_vgg(accuracy))
        for scales, network, accuracy in zip((2, 3), networks, accuracies, strict=True)
    )


def _relation_rows(label: str, relation: str, accuracies: tuple[float, float]) -> tuple[Row, ...]:
    return _by_scale(label, (clan(2, relation=relation), clan(3, relation=relation)), accuracies)


def _pooling_rows(label: str, pooling: str, accuracies: tuple[float, float]) -> tuple[Row, ...]:
    return _by_scale(label, (clan(2, spatial_pooling=pooling), clan(3, spatial_pooling=pooling)), accuracies)


def _branch_row(label: str, branches: tuple[str, ...] | None, *accuracies: float) -> Row:
    return Row(label, FULL_CLAN, branches=branches, printed=_vgg(*accuracies))


def _all_three(cub: float, cars: float, aircraft: float) -> dict[str, float]:
    return {"cub": cub, "cars": cars, "aircraft": aircraft}


TABLES: dict[str, Table] = {
    "table1": Table(
        "Relation metric of the context attention (CLCA), without spatial attention",
        (
            *_relation_rows("Gaussian", "gaussian", (84.6, 84.5)),
            *_relation_rows("Embedded Gaussian", "embedded_gaussian", (85.1, 85.7)),
            *_relation_rows("Dot Product", "dot_product", (85.2, 85.8)),
        ),
        baseline="Dot Product",
    ),
    "table2": Table(
        "What is applied to the mid-level maps, 3 scales, without spatial attention",
        (
            Row("GAP", REFINEMENTS["GAP"], printed=_vgg(78.7, 90.4, 86.3)),
            Row("Non-local", REFINEMENTS["Non-local"], printed=_vgg(84.8, 92.5, 89.5)),
            Row("CLCA", REFINEMENTS["CLCA"], printed=_vgg(85.8, 92.9, 90.6)),
        ),
        baseline="GAP",
    ),
    "table3": Table(
        "Pooling of the spatial attention (CLSA)",
        (
            *_pooling_rows("CLCA + CLSA(Avg)", "avg", (85.3, 85.6)),
            *_pooling_rows("CLCA + CLSA(Max)", "max", (85.7, 86.0)),
            *_pooling_rows("CLCA + CLSA(Avg&Max)", "avg_max", (86.0, 86.8)),
        ),
        baseline="CLCA + CLSA(Avg&Max)",
    ),
    "table4": Table(
        "Branches of one trained 3-scale CLAN",
        (
            _branch_row("G-Branch", ("top",), 84.1, 91.5, 90.1),
            _branch_row("P-Branch", ("mid_2",), 85.2, 91.8, 90.3),
            _branch_row("A-Branch", ("mid_1",), 83.1, 88.7, 88.1),
            _branch_row("CLSA-Branch", ("refined_top",), 85.8, 92.6, 90.4),
            _branch_row("G + P", ("top", "mid_2"), 85.3, 92.1, 90.6),
            _branch_row("G + P + A", ("top", "mid_2", "mid_1"), 85.8, 92.9, 90.6),
            _branch_row("G + P + A + CLSA", None, 86.8, 93.1, 91.0),
        ),
        baseline="G-Branch",
    ),
    "table6": Table(
        "CLAN beside other methods",
        (
            Row(
                "Finetuned backbone",
                PLAIN,
                key="plain",
                printed={
                    "vgg16": _all_three(79.1, 87.0, 85.1),
                    "resnet50": _all_three(86.0, 92.0, 89.9),
                    "resnet101": _all_three(86.4, 92.5, 90.5),
                },
            ),
            Row("B-CNN", Network("bcnn", {"architecture": "bcnn"}), printed=_vgg(84.1, 91.3, 84.1), key="bcnn"),
            Row("CBP", Network("cbp", {"architecture": "cbp"}), printed=_vgg(84.0), key="cbp"),
            Row("LRBP", Network("lrbp", {"architecture": "lrbp"}), printed=_vgg(84.2, 90.9, 87.3), key="lrbp"),
            Row(
                "DBT-Net (last map)",
                Network("dbt", {"architecture": "dbt"}),
                key="dbt",
                printed={"resnet50": _all_three(87.5, 94.1, 91.2), "resnet101": _all_three(88.1, 94.5, 91.6)},
            ),
            Row(
                "MAMC",
                Network("mamc", {"architecture": "mamc"}),
                key="mamc",
                printed={"resnet50": {"cub": 86.2, "cars": 92.8}, "resnet101": {"cub": 86.5, "cars": 93.0}},
            ),
            Row(
                "DFB-CNN",
                Network("dfb", {"architecture": "dfb"}),
                key="dfb",
                printed={"resnet50": _all_three(87.4, 93.8, 92.0)},
            ),
            Row(
                "TASN",
                Network("tasn", {"architecture": "tasn"}),
                key="tasn",
                printed={"resnet50": {"cub": 87.9, "cars": 93.8}},
            ),
            Row(
                "RA-CNN",
                Network("ra_cnn", {"architecture": "ra_cnn"}),
                key="ra_cnn",
                printed={"vgg19": _all_three(85.3, 92.5, 88.2)},
            ),
            Row(
                "MA-CNN (first stage)",
                Network("ma_cnn", {"architecture": "ma_cnn"}),
                key="ma_cnn",
                printed={"vgg19": _all_three(86.5, 92.8, 89.9)},
            ),
            Row(
                "CLAN(2-scale)",
                clan(2, spatial_pooling="avg_max"),
                key="clan",
                printed={
                    "vgg16": _all_three(85.9, 92.9, 90.3),
                    "resnet50": _all_three(88.1, 94.2, 93.2),
                    "resnet101": _all_three(88.7, 94.5, 93.3),
                },
            ),
            Row("CLAN(3-scale)", FULL_CLAN, printed={"vgg16": _all_three(86.8, 93.1, 91.0)}, key="clan_3"),
        ),
        baseline="Finetuned backbone",
        caption=(
            "The other methods are trained by this project's recipe on the config's backbone. They don't reproduce "
            "their papers, and the printed accuracies are of the papers' own recipes; that of DBT-Net is of a network "
            "with its transformation in many blocks, where this one has it after the last map alone, and that of "
            "MA-CNN of one that also cuts out what it attends to."
        ),
        shows_costs=True,
    ),
}
"""Tables 1 and 3 were measured on CUB-200-2011 alone; all but Table 6 on VGG-16 alone."""

COMPLEXITY_ROWS: tuple[tuple[str, Network, float, float], ...] = (
    ("VGG-16", REFINEMENTS["GAP"], 15.03, 61.63),
    ("2-scale CLAN", clan(2, spatial_pooling="avg_max"), 16.08, 62.30),
    ("3-scale CLAN", FULL_CLAN, 17.34, 64.83),
)
"""Table 5: method, network, millions of parameters and billions of multiply-accumulates.

Its `VGG-16` has the three heads of plain pooling: no other network matches its numbers.
"""

FIGURES: dict[str, tuple[Network, ...]] = {
    "figure4": (*REFINEMENTS.values(), FULL_CLAN),
    "figure5": (REFINEMENTS["GAP"], FULL_CLAN),
    "figure6": (FULL_CLAN,),
}
"""The networks that each figure shows."""


def data_set_of(config: DataConfig, classes: int) -> str | None:
    """Returns which of the paper's data sets the photos are; `None` for others, and for subsets."""
    name = _SOURCES.get(config.source, config.source)
    is_whole = classes == _CLASSES.get(name) and config.fraction == 1.0 and not config.crop_to_box
    return name if is_whole else None


def paper_backbone(backbone: str) -> str:
    """Returns the paper's name of a backbone: its VGG-16 has batch normalisation."""
    return {"vgg16_bn": "vgg16"}.get(backbone, backbone)
