"""The maps behind a prediction, as arrays at the resolution of the network's own maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from clan_tf.errors import CheckFailed
from clan_tf.explain.geometry import Window, seen_window
from clan_tf.inference.predictor import choose_branches
from clan_tf.inference.views import seen_by_model, view_of_model
from clan_tf.layers import CrossLayerContextAttention
from clan_tf.models import COMBINED, BranchClassifier

ANY_SIZE = 64
"""Side of the common grid on which maps of different sizes are averaged."""
FAINT = 0.02
"""The share of a branch's strongest value below which another of its maps is drawn as what it is, nearly nothing."""


@dataclass(frozen=True)
class Explanation:
    """What a model looked at in one photo.

    Attributes:
        label: index of the explained class.
        probability: the combined prediction's probability of that class.
        gradcam: non-negative maps `(height, width)` by branch and stage: the evidence for the class.
        attention: the model's attention maps by name, such as the spatial attention's of each mid-level map (eq. 8).
        stages: the stages of the maps that a branch's head takes, where it isn't one of the branch's name.
        relation: the weights with which a position of each mid-level map gathers the others (eq. 2), by its name.
        window: the part of the photo that the model sees; the maps' cells cover it.
    """

    label: int
    probability: float
    gradcam: Mapping[tuple[str, str], np.ndarray]
    attention: Mapping[str, np.ndarray]
    window: Window
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    relation: Mapping[str, np.ndarray] = field(default_factory=dict)

    def summary(self) -> np.ndarray:
        """Averages Grad-CAM of all branches, each at its own stages and divided by its `brightest` value."""
        own = [key for key in self.gradcam if key[1] in self.stages.get(key[0], (key[0],))]
        return np.mean([_to_grid(self.gradcam[key] / max(self.brightest(*key), 1e-12)) for key in own], axis=0)

    def is_faint(self, branch: str, stage: str) -> bool:
        """Whether a map is nowhere as strong as the share `FAINT` of the branch's strongest value."""
        return bool(self.gradcam[branch, stage].max() < FAINT * self._strongest(branch))

    def brightest(self, branch: str, stage: str) -> float:
        """The value of Grad-CAM that is drawn brightest: the map's largest, or the branch's if the map is faint."""
        is_faint = self.is_faint(branch, stage)
        return self._strongest(branch) if is_faint else float(self.gradcam[branch, stage].max())

    def _strongest(self, branch: str) -> float:
        return max(float(cam.max()) for (name, _), cam in self.gradcam.items() if name == branch)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns all maps and values by name, as in the `.npz` files."""
        return {
            **{f"gradcam.{branch}.{stage}": cam for (branch, stage), cam in self.gradcam.items()},
            **{f"attention.{name}": attention for name, attention in self.attention.items()},
            **{f"relation.{name}": relation for name, relation in self.relation.items()},
            "window": np.array(self.window),
        }


class Explainer:
    """Explains photos with one model.

    Grad-CAM of a branch at a stage is `ReLU(sum_k a_k A_k)`, where `A` is the stage's map and `a_k` the mean over its
    positions of the derivative of the branch's logit with respect to `A_k`.

    Args:
        model: the model.
        branches: the branches whose Grad-CAM is wanted; those that are combined if `None`.

    Reference:
        Selvaraju et al., Grad-CAM, ICCV 2017.
    """

    def __init__(self, model: BranchClassifier, branches: Sequence[str] | None = None) -> None:
        self.model = model
        self.branches = choose_branches(model.branches, branches, model.branch_weights)
        self.stages = stages_of(model)
        self.attentions = [name for name in model.features if name.startswith("attention_")]
        self._maps_of_stages = [name for stage in self.stages.values() for names in stage for name in names]
        logits = [f"logits_{branch}" for branch in self.branches]
        self._warped = {stage: name for stage, name in model.WARPED.items() if name in model.features}
        wanted = [*self._maps_of_stages, *self.attentions, *logits, *self._warped.values(), COMBINED]
        self._network = model.with_outputs(dict.fromkeys(wanted))
        self._refinements = getattr(model, "refinements", {})
        self._backbone = model.with_outputs(["backbone_top", *(f"backbone_{name}" for name in self._refinements)])

    def __call__(
        self, views: np.ndarray, windows: Sequence[Window], labels: Sequence[int] | None = None
    ) -> list[Explanation]:
        """Explains what the model sees of some photos.

        Args:
            views: RGB in 0…255 `(photos, image_size, image_size, 3)`.
            windows: where each view lies in its photo.
            labels: the class to explain for each photo; the predicted ones if `None`.

        Raises:
            CheckFailed: if the model outputs NaN.
        """
        wanted = tf.constant([-1] * len(views) if labels is None else labels, tf.int32)
        label, probability, gradcam, attention = self._maps(tf.cast(views, tf.float32), wanted)
        for values in (probability, *gradcam.values(), *attention.values()):
            if not np.isfinite(values.numpy()).all():
                raise CheckFailed("The model outputs NaN; its weights are damaged or too large. Use another model.")
        return [
            Explanation(
                label=int(label[index]),
                probability=float(probability[index]),
                gradcam={tuple(key.split("/")): cam[index].numpy() for key, cam in gradcam.items()},
                attention={name: values[index].numpy() for name, values in attention.items()},
                window=window,
                stages=self.model.STAGES,
            )
            for index, window in enumerate(windows)
        ]

    def explain_whole(
        self, photos: Sequence[np.ndarray], labels: Sequence[int] | None = None, at: tuple[int, int] | None = None
    ) -> list[Explanation]:
        """Explains whole photos.

        Args:
            photos: upright, uint8 RGB `(height, width, 3)`, of any sizes.
            labels: the class to explain for each photo; the predicted ones if `None`.
            at: column and row of a pixel whose relations are wanted, too.

        Raises:
            CheckFailed: if the model outputs NaN.
            ValueError: if the model doesn't see the pixel.
        """
        views = np.stack([seen_by_model(self.model, photo) for photo in photos])
        view = view_of_model(self.model)
        windows = [seen_window(photo.shape[0], photo.shape[1], view) for photo in photos]
        explanations = self(views, windows, labels)
        if at is None:
            return explanations
        return [
            replace(explanation, relation=self.relations_at(view, explanation.window, *at))
            for view, explanation in zip(views, explanations, strict=True)
        ]

    def relations_at(self, view: np.ndarray, window: Window, x: int, y: int) -> dict[str, np.ndarray]:
        """Computes the weights with which a pixel's position gathers all others (eq. 2): `(height, width)` by map.

        Args:
            view: RGB in 0…255 `(image_size, image_size, 3)`.
            window: where the view lies in its photo.
            x: column of the pixel in the photo.
            y: row of the pixel in the photo.

        Raises:
            ValueError: if the model doesn't see the pixel.
        """
        features = self._backbone(view[None])
        relations = {}
        for name, layer in self._refinements.items():
            mid, top = features[f"backbone_{name}"], features["backbone_top"]
            cell = window.cell_at(x, y, *mid.shape[1:3])
            if cell is None:
                raise ValueError(f"`x`, `y` must be in the part that the model sees, {window}. Received: {x}, {y}")
            maps = (mid, top) if isinstance(layer, CrossLayerContextAttention) else (mid,)
            relations[name] = np.array(layer.weights_of(*cell, *maps))[0]
        return relations

    def _maps(self, photos: tf.Tensor, wanted: tf.Tensor) -> tuple[Any, ...]:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(photos)
            outputs = self._network(photos, training=False)
            label = tf.where(wanted < 0, tf.argmax(outputs[COMBINED], axis=-1, output_type=tf.int32), wanted)
            scores = {branch: tf.gather(outputs[f"logits_{branch}"], label, batch_dims=1) for branch in self.branches}
        gradcam = {}
        maps = {name: outputs[name] for name in self._maps_of_stages}
        for branch, score in scores.items():
            gradients = tape.gradient(score, maps)
            for stage, alternatives in self.stages.items():
                connected = [names for names in alternatives if all(gradients[name] is not None for name in names)]
                if connected:
                    weighted = [_weighted_sum(maps[name], gradients[name]) for name in connected[0]]
                    gradcam[f"{branch}/{stage}"] = tf.nn.relu(tf.add_n(weighted))
        for stage, positions in self._warped.items():
            for key in [key for key in gradcam if key.endswith(f"/{stage}")]:
                gradcam[key] = unwarped(gradcam[key], outputs[positions], photos.shape[1])
        attention = {name.removeprefix("attention_"): outputs[name][..., 0] for name in self.attentions}
        return label, tf.gather(outputs[COMBINED], label, batch_dims=1), gradcam, attention


def stages_of(model: BranchClassifier) -> dict[str, list[list[str]]]:
    """Returns each stage's alternatives in order of preference, each a list of one or more feature names.

    A branch's gradient is taken with respect to the first alternative that it is computed from: `top` isn't computed
    from the refined mid-level maps, but from the backbone's.
    """
    stages = {}
    for name in model.features:
        if name.startswith("backbone_"):
            stage = name.removeprefix("backbone_")
            is_refined = stage.startswith("mid_") and f"refined_{stage}" in model.features
            stages[stage] = [*([[f"refined_{stage}"]] if is_refined else []), [name]]
    attended = [name for name in model.features if name.startswith("attended_")]
    return {**stages, "refined_top": [attended]} if attended else stages


def unwarped(maps: tf.Tensor, positions: tf.Tensor, size: int, grid: int = ANY_SIZE) -> tf.Tensor:
    """Brings maps of resampled photos back to the photos, bilinear between cell centres.

    Args:
        maps: float32 `(photos, rows, columns)`.
        positions: where the rows and columns of the resampled photos lie in the photos, in pixels from the first one's
            centre, rising, `(photos, 2, samples)`.
        size: side of the photos in pixels.
        grid: side of the result.

    Returns:
        `(photos, grid, grid)`; beyond the first and the last sample it has their values, and more than the distance of
        two samples away from them 0.
    """
    places = ((np.arange(grid) + 0.5) * size / grid - 0.5).clip(0, size - 1)
    samples = np.arange(positions.shape[2])
    result = []
    for heat, axes in zip(maps.numpy(), positions.numpy(), strict=True):
        for cells, axis in zip(heat.shape, axes, strict=True):
            # From the photo's pixels to those of the resampled photo, and from them to the map's cells.
            cell = (np.interp(places, axis, samples) + 0.5) * cells / len(samples) - 0.5
            weights = np.maximum(0, 1 - np.abs(cell.clip(0, cells - 1)[:, None] - np.arange(cells)))
            is_seen = (places >= 2 * axis[0] - axis[1]) & (places <= 2 * axis[-1] - axis[-2])
            weights *= is_seen[:, None]
            heat = np.tensordot(weights, heat, axes=(1, 0)).T
        result.append(heat)
    return tf.constant(np.array(result, "float32"))


def _weighted_sum(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    return tf.cast(tf.reduce_sum(weights * activations, axis=-1), tf.float32)


def _to_grid(heat: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(heat.astype("float32")).resize((ANY_SIZE, ANY_SIZE), Image.Resampling.BILINEAR))
