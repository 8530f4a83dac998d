"""RA-CNN: networks that look at ever smaller squares of a photo, each of which the one before has chosen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from clan_tf import limits
from clan_tf.choices import ResizeMode
from clan_tf.errors import CheckFailed, UserError
from clan_tf.layers.relation import Tensor
from clan_tf.layers.squares import USUAL, SquareCrop, SquareMap, SquareProposal
from clan_tf.models.arguments import as_dict, as_list, check_arguments, check_choice, takes_numpy_numbers
from clan_tf.models.backbones import backbone_spec, build_backbone, preprocess
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.grid import to_grid
from clan_tf.models.heads import branch_head, mean_pool
from clan_tf.models.resampled import resampled_size

SquareInit = Literal["peaks", "middle"]
CROPS, UNITS, GRID = 2, 256, 7
RIDGE, GAIN = 1.0, 4.0
"""Of the regression by which square proposals start, and what its inputs are multiplied by before their tanh."""
_LEAST_SHARE = 0.05


@keras.saving.register_keras_serializable(package="clan_tf")
class RACNN(BranchClassifier):
    """The recurrent attention convolutional network.

    A first backbone sees the whole photo. From its last map, averaged to a grid, `SquareProposal` chooses a square,
    which `SquareCrop` cuts out of the photo and enlarges for a second backbone, and so on; no gradient passes from a
    square to the map. The branches are `scale_1` … , a head on each backbone's pooled map, and `fused`, a head on all
    pooled maps, each divided by its norm. The prediction is that of `fused` alone.

    `clan-tf train` adds the loss `ranking`: what the true class's probability at each scale, plus a margin, is above
    that of the next one, to which alone it is passed back. In most epochs it trains all but the square proposals, by
    the branches; in every `attention_every`-th these alone, by `ranking`. Keras' `fit` trains the branches'
    cross-entropies alone. `features` holds `backbone_top` and `backbone_scale_2` …, the backbones' maps; `grid_1` …,
    of which the squares are made; `square_2` …, their centres and half sides `(batch, 3)` in sides of the photo;
    `crop_2` … and `positions_2` …, of `SquareCrop`; `attention_scale_2` …, where the squares are; and the logits.

    Args:
        backbone: a name in `clan_tf.models.BACKBONES`, of all backbones.
        classes: number of classes.
        image_size: side of the square photos in pixels.
        crops: how many squares are looked at, one in the other.
        crop_size: side of the enlarged squares in pixels; `None` for half of `image_size`, down to a multiple of 32,
            but at least 96, or `image_size` if that is less.
        proposal_grid: side of the grid to which a map is averaged, if it is finer, before a square is proposed from it.
        proposal_units: length of the dense layer inside a proposal.
        mask_slope: how steep a square's edges are, for each pixel of the photo.
        square_init: what a square is at first in `clan-tf train`, or after `prepare`: `"peaks"`, of half the side and
            around the map's largest mean over the channels, or `"middle"`, of half the side in the middle.
        ranking_weight: weight of the loss `ranking`.
        ranking_margin: its margin.
        attention_every: the last of this many epochs trains the square proposals alone, 2 at least.
        attention_rate: what their learning rate is multiplied by.
        feature_scale: what each pooled map, of norm 1, is multiplied by before the head of `fused`.
        dropout: fraction of the heads' inputs that is dropped in training.
        loss_weights: weights of the branches' losses; 1 where none is given.
        class_names: the classes' names, which are saved with the model.
        resize_size: side that photos are resized to before the centre crop of `image_size`; `None` for `image_size`.
        resize_mode: as in `CLAN`.
        weights: weights of all backbones: `"imagenet"`, `None`, or a path. Not part of the saved config.

    Raises:
        UserError: for an unknown backbone or branch, a `crop_size` that is larger than the photos, or weights that
            can't be loaded.
        ValueError: if another argument is invalid.

    Reference:
        Fu, Zheng and Mei, Look Closer to See Better: Recurrent Attention Convolutional Neural Network for Fine-grained
        Image Recognition, CVPR 2017.
    """

    crops: int
    crop_size: int
    square_init: SquareInit
    ranking_weight: float
    ranking_margin: float
    attention_rate: float

    HEAD_KIND = "squares"
    HEAD_ARGUMENTS = ("crops", "feature_scale")
    HEAD_LAYERS = tuple(f"square_{number}" for number in range(2, limits.CROPS + 2))
    ATTENTION_LAYERS = HEAD_LAYERS
    STAGES = {"scale_1": ("top",), "fused": ("top", *(f"scale_{number}" for number in range(2, limits.CROPS + 2)))}
    WARPED = {f"scale_{number}": f"positions_{number}" for number in range(2, limits.CROPS + 2)}
    # A square moves with what its map is rounded to, and edges in the photo with it.
    ROUNDING = 20.0
    PUBLISHED = "102,764,547 weights in each of two square proposals, on 14 x 14 positions of VGG-19's last map"

    @takes_numpy_numbers
    def __init__(
        self,
        backbone: str,
        classes: int,
        image_size: int = 448,
        crops: int = CROPS,
        crop_size: int | None = None,
        proposal_grid: int = GRID,
        proposal_units: int = UNITS,
        mask_slope: float = 10.0,
        square_init: SquareInit = "peaks",
        ranking_weight: float = 1.0,
        ranking_margin: float = 0.05,
        attention_every: int = 4,
        attention_rate: float = 3e-4,
        feature_scale: float = 20.0,
        dropout: float = 0.0,
        loss_weights: Mapping[str, float] | None = None,
        class_names: Sequence[str] | None = None,
        resize_size: int | None = None,
        resize_mode: ResizeMode = "stretch",
        weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = {
            "backbone": backbone,
            "classes": classes,
            "image_size": image_size,
            "crops": crops,
            "crop_size": crop_size,
            "proposal_grid": proposal_grid,
            "proposal_units": proposal_units,
            "mask_slope": mask_slope,
            "square_init": square_init,
            "ranking_weight": ranking_weight,
            "ranking_margin": ranking_margin,
            "attention_every": attention_every,
            "attention_rate": attention_rate,
            "feature_scale": feature_scale,
            "dropout": dropout,
            "loss_weights": as_dict("loss_weights", loss_weights),
            "class_names": as_list("class_names", class_names, "names"),
            "resize_size": resize_size,
            "resize_mode": resize_mode,
        }
        check_arguments(arguments)
        check_choice("square_init", square_init, SquareInit)
        size = resampled_size(image_size, crop_size, "model.ra_cnn.crop_size")

        # Layers
        spec = backbone_spec(backbone)
        numbers = range(2, crops + 2)
        size_key = "data.image_size" if crop_size is None else "model.ra_cnn.crop_size"
        backbones = [build_backbone(backbone, image_size, weights=weights)]
        for number in numbers:
            name = f"{backbone}_scale_{number}"
            backbones.append(build_backbone(backbone, size, weights=weights, size_key=size_key, model_name=name))
        propose = [SquareProposal(proposal_units, dtype="float32", name=f"square_{number}") for number in numbers]
        cut = [SquareCrop(size, mask_slope, dtype="float32", name=f"crop_{number}") for number in numbers]
        show = [SquareMap(dtype="float32", name=f"attention_scale_{number}") for number in numbers]

        # Graph
        inputs = keras.Input((image_size, image_size, 3), name="photos")
        top = backbones[0](preprocess(inputs, spec.preprocessing))["top"]
        features: dict[str, Tensor] = {"backbone_top": top}
        vectors = {"scale_1": mean_pool("scale_1")(top)}
        square: Tensor = None
        for number, layer, cut_out, draw, backbone_model in zip(
            numbers, propose, cut, show, backbones[1:], strict=True
        ):
            if top.shape[1] == 1:
                pixels, key = (image_size, "data.image_size") if number == 2 else (size, size_key)
                raise UserError(
                    f"{key}: {pixels} is too small for RA-CNN on {backbone}, whose last map would have one position. "
                    f"Use {2 * pixels} or more."
                )
            grid = to_grid(ops.stop_gradient(top), proposal_grid)
            if square_init == "peaks" and grid.shape[1] * grid.shape[2] > proposal_units:
                raise UserError(
                    f"model.ra_cnn.proposal_units: {proposal_units} is less than the {grid.shape[1] * grid.shape[2]} "
                    "positions whose peak a square starts around. Use more, a coarser model.ra_cnn.proposal_grid, or "
                    "model.ra_cnn.square_init=middle."
                )
            square = layer(grid, square)
            crop, positions = cut_out(inputs, square)
            top = backbone_model(preprocess(crop, spec.preprocessing))["top"]
            vectors[f"scale_{number}"] = mean_pool(f"scale_{number}")(top)
            features |= {
                f"grid_{number - 1}": grid,
                f"square_{number}": square,
                f"crop_{number}": crop,
                f"positions_{number}": positions,
                f"attention_scale_{number}": draw(square),
                f"backbone_scale_{number}": top,
            }
        scale = keras.layers.Rescaling(feature_scale, dtype="float32", name="scaled")
        unit = [keras.layers.UnitNormalization(dtype="float32", name=f"unit_{name}") for name in vectors]
        parts = [scale(layer(vector)) for layer, vector in zip(unit, vectors.values(), strict=True)]
        vectors["fused"] = keras.layers.Concatenate(dtype="float32", name="joined")(parts)
        features |= {f"logits_{name}": branch_head(x, classes, name, dropout) for name, x in vectors.items()}
        weights_of_branches = dict.fromkeys(vectors, 0.0) | {"fused": 1.0}
        super().__init__(inputs, features, tuple(vectors), arguments, weights_of_branches, **kwargs)

        # Config
        self.backbone_model = backbones[0]
        self.crop_models = backbones[1:]
        self.crop_size = size

    @classmethod
    def head_arguments(cls, branch: str) -> tuple[str, ...]:
        """Returns what the features of `fused` depend on, and nothing for the scales' heads."""
        return cls.HEAD_ARGUMENTS if branch == "fused" else ()

    @classmethod
    def head_layers(cls, branch: str) -> tuple[str, ...]:
        """Returns the proposals of the squares that a head's features are of."""
        last = limits.CROPS + 1 if branch == "fused" else int(branch.removeprefix("scale_"))
        return cls.HEAD_LAYERS[: last - 1]

    @classmethod
    def layer_arguments(cls) -> tuple[str, ...]:
        """Returns nothing: a square depends on what is before it alone."""
        return ()

    @classmethod
    def fewest_weights(cls, settings: Mapping[str, Any]) -> dict[str, int]:
        """Returns the weights of the proposals, of last maps with 128 channels and a 32nd of the photos' side."""
        image_size = settings.get("image_size", 448)
        crop_size = settings.get("crop_size") or image_size // 2
        sizes = [image_size, *[crop_size] * (settings.get("crops", CROPS) - 1)]
        positions = sum(min(settings.get("proposal_grid", GRID), max(1, size // 32)) ** 2 for size in sizes)
        return {"proposal_grid": 128 * positions * settings.get("proposal_units", UNITS)}

    @property
    def backbones(self) -> tuple[keras.Model, ...]:
        """That of the whole photo, and that of each square."""
        return (self.backbone_model, *self.crop_models)

    @property
    def own_loss_weights(self) -> dict[str, float]:
        """The loss `ranking`."""
        return {"ranking": self.ranking_weight}

    def own_losses(self, outputs: Mapping[str, Tensor], shares: Tensor) -> dict[str, Tensor]:
        """Computes the loss over each two consecutive scales, each photo's on its own."""
        names = [f"scale_{number}" for number in range(1, self.crops + 2)]
        true = [ops.sum(shares * ops.softmax(outputs[name], axis=-1), axis=-1) for name in names]
        hinges = [
            ops.relu(ops.stop_gradient(coarse) - fine + self.ranking_margin)
            for coarse, fine in zip(true, true[1:], strict=False)
        ]
        return {"ranking": sum(hinges)}

    @property
    def needs_photos_to_start(self) -> bool:
        """Whether the squares start around peaks, and aren't another model's."""
        return self.square_init == "peaks" and not self.is_prepared

    def prepare(self, batches: Iterable[Any]) -> None:
        """Fits each proposal to the square of half the side around the peak of the map's mean over the channels.

        The second one is fitted to maps of the squares that the first one proposes by then, and so on: it depends on
        how many photos are in a batch. Proposals of another model stay as they are.
        """
        fits = [
            _SquareFit(self, number) for number in range(2, self.crops + 2) if f"square_{number}" not in self.prepared
        ]
        for photos, _, weights in batches:
            for fit in fits:
                fit.add(photos, np.asarray(weights) > 0)


class _SquareFit:
    """Fits a square proposal to where the peaks of its map are.

    A unit of the dense layer inside is set for each position: the tanh of how far the mean over its channels is above
    that of all. From these the last layer is fitted by ridge regression, to what its sigmoids are to be. The other
    units keep their random weights, and have no influence at first.
    """

    def __init__(self, model: RACNN, number: int) -> None:
        self._network = model.with_outputs([f"grid_{number - 1}"])
        self._layer = model.get_layer(f"square_{number}")
        *_, height, width, channels = next(iter(self._network.output.values())).shape
        positions = height * width
        self._products, self._wanted = RIDGE * np.eye(positions + 1), np.zeros((positions + 1, 2))
        kernel, bias = self._layer.inner.get_weights()
        # Rows of the kernel are the positions' channels, one position after the other.
        above = np.eye(positions) - 1 / positions
        kernel[:, :positions], bias[:positions] = np.repeat(GAIN * above / channels, channels, axis=0), 0
        self._layer.inner.set_weights([kernel, bias])

    def add(self, photos: Any, given: np.ndarray) -> None:
        """Fits the layer to those photos of a batch that are `given`, and to all that were added before."""
        (output,) = self._network(photos, training=False).values()
        maps = np.asarray(ops.cast(output, "float32"))[given]
        if not np.isfinite(maps).all():
            raise CheckFailed(
                "The features of the train photos aren't finite, so that RA-CNN has no squares to start with. Use "
                "training.precision=float32, other weights of the backbone, or model.ra_cnn.square_init=middle."
            )
        units = np.asarray(self._layer.inside_units(maps))[:, : len(self._wanted) - 1]
        units = np.concatenate([units, np.ones((len(units), 1))], axis=1).astype("float64")
        share = ((peak_squares(maps)[:, :2] - USUAL) / (1 - 2 * USUAL)).clip(_LEAST_SHARE, 1 - _LEAST_SHARE)
        self._products += units.T @ units
        self._wanted += units.T @ np.log(share / (1 - share))
        fitted = np.linalg.solve(self._products, self._wanted)
        kernel, bias = self._layer.outer.get_weights()
        kernel[:] = 0
        kernel[: len(fitted) - 1, :2], bias[:2] = fitted[:-1], fitted[-1]
        self._layer.outer.set_weights([kernel, bias])


def peak_squares(maps: np.ndarray) -> np.ndarray:
    """Returns the square of half the side around the peak of each map's mean over the channels, inside the map.

    Args:
        maps: `(batch, height, width, channels)`.

    Returns:
        The centre's row and column and half the side, in sides of the map: float32 `(batch, 3)`.
    """
    height, width = maps.shape[1:3]
    peak = maps.mean(axis=-1).reshape(len(maps), -1).argmax(axis=1)
    centre = [(peak // width + 0.5) / height, (peak % width + 0.5) / width]
    return np.stack([*(each.clip(USUAL, 1 - USUAL) for each in centre), np.full(len(maps), USUAL)], axis=1, dtype="f4")
