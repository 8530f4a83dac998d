"""The `data` section of an experiment: which photos there are, and how they are prepared."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from clan_tf import limits
from clan_tf.choices import ResizeMode
from clan_tf.config.groups import GroupRule
from clan_tf.config.section import Section, Share, Text, require_utf8, up_to
from clan_tf.config.sources import SOURCES
from clan_tf.errors import nearest, shown

Sampling = Literal["auto", "shuffle", "class_balanced", "pairs"]
CacheMode = Literal["auto", "none", "memory", "disk"]
_SPACE_AFTER_COLON = re.compile(r"(path|column):\s")
TAXONOMY_NAMES = "names"
"""The `taxonomy` that the classes' own names hold."""
GeneratedPhotos = dict[Literal["train", "val", "test"], Annotated[int, up_to(limits.GENERATED_PHOTOS)]]


class AugmentationConfig(Section):
    """Changes of train photos besides the random crop and flip; all are off by default."""

    policy: Literal["none", "trivial_augment", "rand_augment"] = "none"
    """Operations drawn at random for each photo: `trivial_augment` applies one, `rand_augment` applies `operations` of
    them, each of any strength up to `magnitude`."""
    operations: Annotated[int, up_to(100)] = 2
    """Operations per photo of `rand_augment`."""
    magnitude: Share = 0.5
    """Largest strength of the operations of `policy`, 0…1, as a share of the ranges in its paper; 0 changes nothing but
    by autocontrast and equalization, which have no strength."""
    color_jitter: Share = 0.0
    """Largest change of brightness, contrast and saturation, 0…1; hue changes by up to a quarter of it."""
    random_erasing: Share = 0.0
    """Share of photos in which a rectangle is filled with grey."""
    mixup: Share = 0.0
    """Share of batches whose photos are blended in pairs, with their labels (MixUp)."""
    mixup_alpha: Annotated[float, Field(gt=0, le=1000)] = 0.2
    """Parameter of the Beta distribution from which MixUp draws its weights."""
    cutmix: Share = 0.0
    """Share of batches in which a rectangle of each photo comes from another, labels mixed by area (CutMix)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mixup + self.cutmix > 1:
            raise ValueError(
                f"mixup and cutmix are shares of the batches and must sum to at most 1; received {self.mixup} and "
                f"{self.cutmix}"
            )
        return self


class DataConfig(Section):
    """Where the photos come from, how they are split, and how they are prepared."""

    source: Text = "folders"
    """Layout of the data: `folders` (a folder per split and class, or a folder per class), `csv` (a table), `cub`,
    `cars` or `aircraft` (their official layouts), `tfds:NAME` (TensorFlow Datasets), `records` (written by
    `clan-tf data pack`, in any file system of `tf.io.gfile`) or `generated` (the demo's drawings)."""
    root: Text | None = None
    """Folder of the data, or its address in another file system, such as `gs://…`. Relative paths are resolved against
    the working directory."""
    csv: Path | None = None
    """Table with the columns `path`, `label` and, optionally, `split`; `photos.csv` in `root` by default."""
    level: Literal["variant", "family", "manufacturer"] = "variant"
    """Which labels of the source `aircraft` are the classes."""
    crop_to_box: bool = False
    """Whether photos are cropped to their bounding boxes; for `cub`, `cars`, `aircraft`, `tfds` and `records`."""
    taxonomy: Text | None = None
    """Table with a row for each class: its name, then the groups that it is in, from fine to coarse, such as
    `class,genus,family`; `predict --level` answers with these. Or `names`, for names of classes that hold their groups,
    coarsest first, separated by `__`: `Passeridae__Passer__Passer_domesticus`."""
    group: Text | None = None
    """Which photos belong together, such as those of one animal, burst or photographer: clan-tf never cuts such a group
    apart. `column:NAME`, those with the same text in a column of the table (source `csv`); `path:REGEX`, those whose
    path below `root` has the same text in the first parentheses of a regular expression; `copies`, those that show the
    same picture, as `clan-tf data check` finds them."""
    classes: Annotated[int, up_to(limits.CLASSES)] | None = None
    """Number of classes; needed only by commands that run without the data."""
    unknown_classes: Annotated[list[Text], Field(max_length=limits.CLASSES)] = []
    """Classes that a model doesn't get to know: none of their photos is in a split, and `evaluate` finds out how well
    the model tells that they are none of its classes."""
    quarantine: Path | None = None
    """List of photos to leave out, as `clan-tf data check --quarantine` writes it."""
    relabel: Path | None = None
    """Table of corrected labels: the `labels.csv` of `clan-tf data labels` with classes in its column `label`, or any
    table with the columns `photo` and `label`. An empty cell changes nothing, `-` leaves the photo out."""
    on_broken: Literal["refuse", "skip"] = "refuse"
    """What happens to photos that can't be read: training stops with their names, or leaves them out."""
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the photos of each class and split that is used."""
    split_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the cuts into splits and folds, of `fraction` and of the drawings of the source `generated`."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the train photos of each class that becomes the validation split where the data has none; photos go by a
    hash of their content, or together with their `group`."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the photos of each class that becomes the test split where the data has no splits at all."""
    folds: Annotated[int, Field(ge=2, le=limits.FOLDS)] | None = None
    """Number of folds of a cross-validation, which `clan-tf train --folds` sets: all photos, or all but the data's own
    test photos, are divided into so many."""
    fold: Annotated[int, up_to(limits.FOLDS)] | None = None
    """Which of the `folds`, counted from 1, is the test split; the others are train."""
    generated_photos: GeneratedPhotos = {"train": 2400, "val": 400, "test": 800}
    """Number of drawings in each split of the source `generated`."""
    image_size: Annotated[int, Field(ge=16, le=limits.IMAGE_SIZE)] = 448
    """Side of the square that the network sees, in pixels."""
    resize_size: Annotated[int, Field(ge=16, le=limits.RESIZE_SIZE)] | None = None
    """Side that photos are resized to before `image_size` is cropped; 8/7 of `image_size` by default (512 for 448)."""
    resize_mode: ResizeMode = "stretch"
    """`stretch` resizes to a square; `keep_aspect` makes the shorter side `resize_size`."""
    flip: bool = True
    """Whether train photos are mirrored left to right, each with probability 1/2."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """Further augmentation."""
    sampling: Sampling = "auto"
    """Order of the train photos: `shuffle`, each once per epoch; `class_balanced`, every class equally often; or
    `pairs`, the same with two photos of a class side by side. `auto` is `pairs` for a model with a loss over pairs, and
    `shuffle` for all others."""
    repeats: Annotated[int, up_to(limits.REPEATS)] = 1
    """How many places in a row of a batch hold the same photo, each augmented in its own way; an epoch then shows one
    photo in `repeats`."""
    cache: CacheMode = "auto"
    """Where decoded and resized photos are kept, so that each is decoded once: nowhere, in memory or on disk
    (`~/.cache/clan-tf` or `CLAN_TF_CACHE`, for later runs too). `auto` uses memory if there are several epochs and the
    photos fit into a third of what is free."""

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        if source not in SOURCES and not (source.startswith("tfds:") and source != "tfds:"):
            raise ValueError(
                f"must be one of {', '.join(SOURCES)}; received {shown(source)}.{nearest(source, list(SOURCES))}"
            )
        return source

    @field_validator("root", mode="before")
    @classmethod
    def _resolve_root(cls, root: Any) -> Any:
        """Makes a path absolute, unless it is in another file system, such as `gs://…`."""
        is_local = isinstance(root, str | Path) and "://" not in str(root)
        return require_utf8(os.path.realpath(os.path.expanduser(root))) if is_local else root

    @field_validator("taxonomy")
    @classmethod
    def _resolve_taxonomy(cls, taxonomy: str | None) -> str | None:
        """Makes a path absolute, unless it is the word `names`."""
        if taxonomy is None or taxonomy == TAXONOMY_NAMES:
            return taxonomy
        return require_utf8(str(Path(os.path.expanduser(taxonomy)).absolute()))

    @field_validator("unknown_classes", mode="before")
    @classmethod
    def _one_or_several(cls, names: Any) -> Any:
        """Takes the name of one class, too."""
        return [names] if isinstance(names, str) else names

    @field_validator("group", mode="before")
    @classmethod
    def _require_rule(cls, group: Any) -> Any:
        """Refuses `path: x`, which YAML takes for a mapping."""
        if isinstance(group, dict) or (isinstance(group, str) and _SPACE_AFTER_COLON.match(group)):
            raise ValueError(
                f"must be a text such as 'path:REGEX' or 'column:NAME'; received {shown(group)}. Leave no space after "
                "the colon, and put it in quotes"
            )
        return group

    @field_validator("group")
    @classmethod
    def _check_group(cls, group: str | None) -> str | None:
        if group is not None:
            GroupRule.of(group)
        return group

    @field_validator("csv", "quarantine", "relabel")
    @classmethod
    def _make_absolute(cls, path: Path | None) -> Path | None:
        if path and len(str(path)) > limits.PATH_LENGTH:
            raise ValueError(f"has {len(str(path)):,} characters; at most {limits.PATH_LENGTH:,} are read")
        return Path(require_utf8(str(Path(os.path.expanduser(path)).absolute()))) if path else path

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.resize_size is not None and self.resize_size < self.image_size:
            raise ValueError(
                f"resize_size must be at least image_size ({self.image_size}), because image_size is cropped from it; "
                f"received {self.resize_size}"
            )
        if (self.folds is None) != (self.fold is None) or (self.fold or 0) > (self.folds or 0):
            raise ValueError(
                f"fold must be 1 to folds, and neither goes without the other; received fold {self.fold} and folds "
                f"{self.folds}. `clan-tf train --folds K` sets both"
            )
        if self.group_rule and self.group_rule.kind == "column" and self.source != "csv":
            raise ValueError(
                f"group {shown(self.group)} names a column of a table, which only the source csv has; the source is "
                f"{self.source}. Use path:REGEX or copies"
            )
        return self

    @property
    def group_rule(self) -> GroupRule | None:
        """How groups of photos are recognised: `group`, taken apart."""
        return GroupRule.of(self.group) if self.group else None

    @property
    def full_size(self) -> int:
        """Side that photos are resized to before cropping: `resize_size`, or 8/7 of `image_size` (448 from 512)."""
        return self.resize_size or round(self.image_size * 8 / 7)
