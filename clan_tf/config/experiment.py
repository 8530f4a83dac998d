"""The experiment: pydantic models, YAML files, `--set` overrides, and one message that names every mistake."""

import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from clan_tf import limits
from clan_tf.config.section import Fraction, Name, Section, Share, Text, positive
from clan_tf.config.training import TrainingConfig
from clan_tf.config.yaml_text import parse_yaml
from clan_tf.errors import UserError, nearest, shortened, shown
from clan_tf.files import read_regular_file
from clan_tf.files.regular import TEXT_BYTES
from clan_tf.text import printable

ResizeMode = Literal["stretch", "keep_aspect"]
Sampling = Literal["shuffle", "class_balanced"]
CacheMode = Literal["auto", "none", "memory", "disk"]
GeneratedPhotos = dict[Literal["train", "val", "test"], positive(limits.GENERATED_PHOTOS)]


SOURCES = ("folders", "csv", "cub", "cars", "aircraft", "records", "generated")
MISTAKES = 50
"""How many are listed."""
KEY_DEPTH = 10
"""More dots than any key has."""


class AugmentationConfig(Section):
    """What is done to train photos beside the random crop and flip; everything is off unless set.

    `policy` draws operations at random for each photo: `trivial_augment` one, `rand_augment` `operations` of them, of
    any strength up to `magnitude`. `color_jitter` is the largest change of brightness, contrast, saturation and hue.
    `random_erasing` is the share of photos of which a rectangle is erased. `mixup` and `cutmix` are the share of
    batches whose photos are mixed in pairs, with their labels.
    """

    policy: Literal["none", "trivial_augment", "rand_augment"] = "none"
    operations: positive(100) = 2
    magnitude: Share = 0.5
    color_jitter: Share = 0.0
    random_erasing: Share = 0.0
    mixup: Share = 0.0
    mixup_alpha: Annotated[float, Field(gt=0, le=1000)] = 0.2
    cutmix: Share = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mixup + self.cutmix > 1:
            raise ValueError(
                f"mixup and cutmix are shares of the batches and must sum to at most 1; received {self.mixup} and "
                f"{self.cutmix}"
            )
        return self


class DataConfig(Section):
    """Where the photos come from and how they are prepared.

    `source` is `folders` (a folder per split and class, or a folder per class), `csv` (a table), `cub`, `cars` or
    `aircraft` (in their official layouts), `tfds:NAME` (TensorFlow Datasets), `records` (what `clan-tf data pack`
    wrote, in any file system of `tf.io.gfile`) or `generated` (the demo's drawings). `classes` is needed only by
    commands that run without the data.
    """

    source: Text = "folders"
    root: Text | None = None
    csv: Path | None = None
    level: Literal["variant", "family", "manufacturer"] = "variant"
    crop_to_box: bool = False
    classes: positive(limits.CLASSES) | None = None
    quarantine: Path | None = None
    on_broken: Literal["refuse", "skip"] = "refuse"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    split_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    generated_photos: GeneratedPhotos = {"train": 2400, "val": 400, "test": 800}
    image_size: Annotated[int, Field(ge=16, le=limits.IMAGE_SIZE)] = 448
    resize_size: Annotated[int, Field(ge=16, le=limits.RESIZE_SIZE)] | None = None
    resize_mode: ResizeMode = "stretch"
    flip: bool = True
    augmentation: AugmentationConfig = AugmentationConfig()
    sampling: Sampling = "shuffle"
    repeats: positive(limits.REPEATS) = 1
    cache: CacheMode = "auto"

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        if source not in SOURCES and not (source.startswith("tfds:") and source != "tfds:"):
            names = [*SOURCES, "tfds:NAME"]
            raise ValueError(f"must be one of {', '.join(names)}; received {shown(source)}.{nearest(source, names)}")
        return source

    @field_validator("root", mode="before")
    @classmethod
    def _resolve_root(cls, root: Any) -> Any:
        """Absolute, unless it is in another file system, such as `gs://…`."""
        is_local = isinstance(root, str | Path) and "://" not in str(root)
        return _require_utf8(os.path.realpath(os.path.expanduser(root))) if is_local else root

    @field_validator("csv", "quarantine")
    @classmethod
    def _make_absolute(cls, path: Path | None) -> Path | None:
        if path and len(str(path)) > limits.PATH_LENGTH:
            raise ValueError(f"has {len(str(path)):,} characters; at most {limits.PATH_LENGTH:,} are read")
        return Path(_require_utf8(str(Path(os.path.expanduser(path)).absolute()))) if path else path

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.resize_size is not None and self.resize_size < self.image_size:
            raise ValueError(
                f"resize_size must be at least image_size ({self.image_size}), because image_size is cropped from it; "
                f"received {self.resize_size}"
            )
        return self

    @property
    def full_size(self) -> int:
        """Side that photos are resized to before cropping: `resize_size`, or 8/7 of `image_size` (448 from 512)."""
        return self.resize_size or round(self.image_size * 8 / 7)


class ModelConfig(Section):
    """The network; the arguments of `clan_tf.CLAN` by the same names."""

    architecture: Literal["clan", "plain"] = "clan"
    backbone: Name = "resnet50"
    weights: Text | None = None
    scales: Annotated[int, Field(ge=2, le=limits.TAPS + 1)] | None = None
    mid: Annotated[list[Name], Field(min_length=1, max_length=limits.TAPS)] | None = None
    mid_refinement: Literal["gap", "non_local", "clca"] = "clca"
    relation: Literal["gaussian", "embedded_gaussian", "dot_product"] = "dot_product"
    embed_dim: positive(limits.EMBED_DIM) | None = None
    spatial_attention: bool = True
    spatial_pooling: Literal["avg", "max", "avg_max"] = "avg_max"
    spatial_activation: Literal["sigmoid", "linear"] = "sigmoid"
    spatial_kernel_size: positive(limits.KERNEL_SIZE) = 3
    combination: Literal["probabilities", "logits"] = "probabilities"
    dropout: Fraction = 0.0
    loss_weights: dict[Name, Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)]] = {}

    @field_validator("weights")
    @classmethod
    def _resolve_weights(cls, weights: str | None) -> str | None:
        if weights in (None, "none"):
            return None
        return weights if weights == "imagenet" else _require_utf8(str(Path(os.path.expanduser(weights)).absolute()))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mid is not None and self.scales is not None and self.scales != len(self.mid) + 1:
            raise ValueError(
                f"scales counts the layers in mid and the top-level map: {len(self.mid)} layers make "
                f"{len(self.mid) + 1} scales; received {self.scales}. Leave scales out"
            )
        return self


class Experiment(Section):
    """A whole experiment: what a YAML file holds.

    Attributes:
        name: names the run directories.
        data: where the photos come from.
        model: the network.
        training: the recipe.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=100)] = "experiment"
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    def flat(self) -> dict[str, Any]:
        """Every value by its whole key, such as `training.epochs`."""
        return dict(flatten(self.model_dump(mode="json")))

    def to_yaml(self) -> str:
        """The complete experiment, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that isn't a section, with its whole key."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def load_experiment(config: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Reads an experiment.

    Args:
        config: path of a YAML file, or the name of a shipped one (see `shipped_configs`).
        overrides: `section.key=value` texts, later ones winning; values are YAML.

    Raises:
        UserError: naming every mistake in the file and the overrides.
    """
    label, text = _read(config)
    try:
        values = parse_yaml(text) or {}
    except ValueError as error:
        raise UserError(f"{label}: not a YAML file: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{label}: must hold keys such as `data:` and `model:`; received {type(values).__name__}.")
    mistakes = [mistake for override in overrides if (mistake := _set(values, override))]
    try:
        experiment = Experiment.model_validate(values)
    except ValidationError as error:
        mistakes += _explain_all(error)
    if mistakes:
        count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise UserError("\n".join([f"{label}: {count}", *(f"  {mistake}" for mistake in mistakes)]))
    return experiment


def with_values(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with other values of some keys, given as `section.key`.

    Raises:
        UserError: naming every mistake, one a line.
    """
    changed = experiment.model_dump(mode="json")
    for path, value in values.items():
        _put(changed, path, value)
    try:
        return Experiment.model_validate(changed)
    except ValidationError as error:
        raise UserError("\n".join(_explain_all(error))) from error


def shipped_configs() -> dict[str, Any]:
    """The configs that are installed with the package, by name."""
    files = resources.files("clan_tf.configs").iterdir()
    return {file.name.removesuffix(".yaml"): file for file in sorted(files, key=str) if file.name.endswith(".yaml")}


def _require_utf8(path: str) -> str:
    """A path that a config file can hold; photos in `data.root` may have any names."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"must be a path in UTF-8; received {printable(path)}. Rename the folder or file") from None
    return path


def _read(config: str | Path) -> tuple[str, str]:
    path, shipped = Path(config), shipped_configs()
    if path.is_file() or (path.exists() and str(config) not in shipped):
        try:
            return str(path), read_regular_file(path, TEXT_BYTES).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{path}: can't be read as a YAML text: {reason}.") from error
    if str(config) in shipped:
        return str(config), shipped[str(config)].read_text(encoding="utf-8")
    raise UserError(
        f"{config}: neither a YAML file nor a shipped config.{nearest(str(config), list(shipped))} "
        f"Shipped are: {', '.join(shipped)}."
    )


def _set(values: dict[str, Any], override: str) -> str | None:
    """Applies a `KEY=VALUE` text, or says what is wrong with it."""
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        return f"--set {shown(override)}: must be KEY=VALUE, for example training.epochs=20."
    if path.count(".") > KEY_DEPTH:
        return f"--set {shown(override)}: a key has at most {KEY_DEPTH} dots."
    try:
        _put(values, path.strip(), parse_yaml(text))
    except ValueError as error:
        return f"--set {shown(override)}: the value isn't YAML: {error}"
    return None


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    """Sets `section.key`; sections that aren't there are made."""
    *sections, key = path.split(".")
    for section in sections:
        if not isinstance(values.get(section), dict):
            values[section] = {}
        values = values[section]
    values[key] = value


def _explain_all(error: ValidationError) -> list[str]:
    """A line for each mistake, but no endless list."""
    found = error.errors()
    more = [f"and {len(found) - MISTAKES:,} more"] if len(found) > MISTAKES else []
    return [_explain(mistake) for mistake in found[:MISTAKES]] + more


def _explain(mistake: Any) -> str:
    location = [str(part) for part in mistake["loc"]]
    name = shortened(".".join(location)) or "experiment"
    value = mistake["input"]
    if mistake["type"] == "extra_forbidden":
        valid = _valid_keys(location[:-1])
        return f"{name}: no such key.{_nearest_key(location)} Valid here: {', '.join(valid)}."
    if mistake["type"] == "literal_error":
        valid = [part.strip("' ") for part in mistake["ctx"]["expected"].replace(" or ", ",").split(",")]
        return (
            f"{name}: must be {mistake['ctx']['expected']}; received {shown(value)}.{nearest(str(value)[:100], valid)}"
        )
    if mistake["type"] == "value_error":
        text = str(mistake["ctx"]["error"])
        return f"{name}: {text}" if text[-1] in ".?" else f"{name}: {text}."
    rule = mistake["msg"][0].lower() + mistake["msg"][1:]
    return f"{name}: {rule}; received {shown(value)}."


def _nearest_key(location: Sequence[str]) -> str:
    """A hint at the key of that name in another section, or at the one with the most similar name."""
    *section, key = location
    by_name: dict[str, list[str]] = {}
    for path in _all_keys(Experiment):
        by_name.setdefault(path.rpartition(".")[2], []).append(path)
    if key not in by_name:
        here = get_close_matches(key, _valid_keys(section), n=1)
        if here:
            return f" Did you mean {'.'.join([*section, *here])}?"
        key = next(iter(get_close_matches(key, by_name, n=1)), key)
    return f" Did you mean {' or '.join(by_name[key])}?" if key in by_name else ""


def _all_keys(section: Any, prefix: str = "") -> Iterator[str]:
    """The full path of every key, sections included."""
    for name, field in section.model_fields.items():
        yield prefix + name
        if _is_section(field.annotation):
            yield from _all_keys(field.annotation, f"{prefix}{name}.")


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _valid_keys(location: Sequence[str]) -> list[str]:
    section: Any = Experiment
    for part in location:
        # In a mapping, such as the branches of `loss_weight_schedules`, every key has the same keys.
        section = section.model_fields[part].annotation if _is_section(section) else get_args(section)[1]
    return list(section.model_fields)
