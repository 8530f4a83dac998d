"""The networks of `compare.py` on a GPU through JAX, which needs no TensorFlow: many runs at once.

`python tests/tools/compare_gpu.py JOBS.json OUT.jsonl [--share I/N]` trains groups of runs of one network at once, by
`jax.vmap` over their seeds, learning rates and weight decays, and appends a line for each run. A job is

    {"name": …, "model": {CLAN's or Plain's arguments}, "weights": "backbone.npz",
     "photos": {"pack": "birds.npz", "image_size": 128, "resize_size": 146},
     "rates": [0.0025, 0.005], "decays": [1e-4, 1e-3], "search_seeds": [0, 1], "seeds": [2, 3, 4, 5]}

All rates and decays are tried with each of the `search_seeds`; those with the highest mean accuracy on validation
photos (the lower loss decides between equals) are then trained with the `seeds`. Without `seeds` the search is all.
`weights` is what `np.savez` makes of the backbone's `get_weights()`, and a pack what `pack_photos.py` writes. With
`"exchanged": true` in `photos` train and test photos change places, and `"classes": [0, 20]` takes classes 0 to 19
alone. `--share I/N` takes every N-th job, for several processes on one GPU.

The recipe is clan-tf's: a random crop and flip, SGD with coupled weight decay, a cosine. The last epoch counts; random
numbers and the order of the photos are others, so runs aren't those of `clan-tf train`.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from jax import numpy as jnp
from PIL import Image

from clan_tf.models import CLAN, Plain

EPOCHS, BATCH, MOMENTUM = 15, 32, 0.9
BINS = 15


class Photos:
    """The photos of a pack on the GPU: all of one size, larger than what the network sees."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        pack = np.load(folder / settings["pack"])
        content, ends = pack["photos"].tobytes(), np.cumsum(pack["lengths"])
        parts = (content[end - length : end] for end, length in zip(ends, pack["lengths"], strict=True))
        first, last = settings.get("classes", [0, int(pack["labels"].max()) + 1])
        kept = (pack["labels"] >= first) & (pack["labels"] < last)
        size = (settings["resize_size"], settings["resize_size"])
        images = [
            np.asarray(Image.open(BytesIO(part)).convert("RGB").resize(size, Image.Resampling.BILINEAR))
            for part, is_kept in zip(parts, kept, strict=True)
            if is_kept
        ]
        self.images = jnp.asarray(np.stack(images))
        self.labels = pack["labels"][kept].astype("int32") - first
        splits = pack["splits"][kept]
        self.of = {split: np.flatnonzero(splits == split) for split in ("train", "val", "test")}
        if settings.get("exchanged"):
            self._exchange()
        self.size, self.classes = settings["image_size"], last - first
        self.margin = settings["resize_size"] - self.size

    def _exchange(self) -> None:
        """Train and validation photos become the test photos; every tenth of each class's test photos validates."""
        learned, test = self.of["test"], np.sort(np.concatenate([self.of["train"], self.of["val"]]))
        order = np.random.default_rng(0).permutation(learned)
        rank = np.array([np.sum(self.labels[order[:place]] == self.labels[own]) for place, own in enumerate(order)])
        self.of = {"train": order[rank % 10 != 0], "val": order[rank % 10 == 0], "test": test}

    def augmented(self, indices: jax.Array, key: jax.Array) -> jax.Array:
        """Random crops, half of them mirrored: float32 `(photos, size, size, 3)`."""
        for_crop, for_flip = jax.random.split(key)
        corners = jax.random.randint(for_crop, (len(indices), 2), 0, self.margin + 1)
        mirrored = jax.random.bernoulli(for_flip, 0.5, (len(indices),))

        def one(index: jax.Array, corner: jax.Array, mirror: jax.Array) -> jax.Array:
            crop = jax.lax.dynamic_slice(self.images[index], (corner[0], corner[1], 0), (self.size, self.size, 3))
            return jnp.where(mirror, crop[:, ::-1], crop)

        return jax.vmap(one)(indices, corners, mirrored).astype("float32")

    def centres(self, indices: jax.Array) -> jax.Array:
        edge = self.margin // 2
        return self.images[indices][:, edge : edge + self.size, edge : edge + self.size].astype("float32")


class Group:
    """Runs of one network, trained at once; every array has the runs as its first axis."""

    def __init__(self, job: dict[str, Any], photos: Photos, folder: Path) -> None:
        self.job, self.photos, self.runs = job, photos, []
        settings = {"classes": photos.classes, "image_size": photos.size} | job["model"]
        kind = Plain if settings.pop("architecture", "clan") == "plain" else CLAN
        self.model = kind(**settings)
        pretrained = np.load(folder / job["weights"])
        self.model.backbone_model.set_weights([pretrained[name].astype("float32") for name in pretrained.files])
        self.branches = self.model.branches
        self.maps = [name for name in self.model.features if name.startswith("attention_")]
        self.network = self.model.with_outputs([*(f"logits_{branch}" for branch in self.branches), *self.maps])
        self.steps = len(photos.of["train"]) // BATCH
        self._train_epoch = jax.jit(jax.vmap(self._epoch, in_axes=(*[0] * 7, None)), donate_argnums=(0, 1, 2))
        self._answer = jax.jit(jax.vmap(self._answers, in_axes=(0, 0, None)))

    def _same(self, variable: keras.Variable) -> jax.Array:
        return jnp.broadcast_to(variable.value, (len(self.runs), *variable.shape))

    def _initial(self, number: int, variable: keras.Variable) -> jax.Array:
        """The variable's start in each run; kernels that Keras draws at random are drawn anew from each run's seed."""
        is_pretrained = any(variable is own for own in self.model.backbone_model.trainable_variables)
        if is_pretrained or len(variable.shape) < 2 or not np.ptp(variable):
            return self._same(variable)
        draws = [
            keras.initializers.GlorotUniform(seed=1000 * run["seed"] + number)(variable.shape) for run in self.runs
        ]
        return jnp.stack(draws)

    def train(self, runs: list[dict[str, Any]]) -> None:
        """Trains runs, each with a `seed`, `rate` and `decay`."""
        self.runs = runs
        self.trained = [self._initial(*pair) for pair in enumerate(self.network.trainable_variables)]
        self.others = [self._same(variable) for variable in self.network.non_trainable_variables]
        rates = jnp.array([run["rate"] for run in self.runs])
        decays = jnp.array([run["decay"] for run in self.runs])
        keys = jax.vmap(jax.random.PRNGKey)(jnp.array([run["seed"] for run in self.runs]))
        velocities = [jnp.zeros_like(values) for values in self.trained]
        orders = [np.random.default_rng(run["seed"]) for run in self.runs]
        for number in range(EPOCHS):
            order = np.stack([rng.permutation(self.photos.of["train"])[: self.steps * BATCH] for rng in orders])
            self.trained, self.others, velocities = self._train_epoch(
                self.trained,
                self.others,
                velocities,
                jnp.asarray(order.reshape(len(self.runs), self.steps, BATCH)),
                keys,
                rates,
                decays,
                float(number),
            )

    def _epoch(
        self, trained: Any, others: Any, velocities: Any, order: Any, key: Any, rate: Any, decay: Any, epoch: Any
    ) -> Any:
        labels = jnp.asarray(self.photos.labels)

        def step(state: Any, indices: jax.Array) -> Any:
            trained, others, velocities, number = state
            photos = self.photos.augmented(indices, jax.random.fold_in(key, number.astype("int32")))

            def loss(trained: Any) -> Any:
                outputs, updated = self.network.stateless_call(trained, others, photos, training=True)
                logits = [jax.nn.log_softmax(outputs[f"logits_{branch}"]) for branch in self.branches]
                return -sum(jnp.take_along_axis(x, labels[indices][:, None], 1).mean() for x in logits), updated

            gradients, others = jax.grad(loss, has_aux=True)(trained)
            own_rate = rate * 0.5 * (1 + jnp.cos(jnp.pi * number / (EPOCHS * self.steps)))
            velocities = [
                MOMENTUM * velocity - own_rate * (gradient + decay * weight)
                for velocity, gradient, weight in zip(velocities, gradients, trained, strict=True)
            ]
            trained = [weight + velocity for weight, velocity in zip(trained, velocities, strict=True)]
            return (trained, others, velocities, number + 1), None

        state, _ = jax.lax.scan(step, (trained, others, velocities, epoch * self.steps), order)
        return state[:3]

    def outputs(self, split: str) -> dict[str, np.ndarray]:
        """Every output for all photos of a split, `(runs, photos, …)`."""
        indices = self.photos.of[split]
        padded = np.resize(indices, -(-len(indices) // 128) * 128).reshape(-1, 128)
        parts = [self._answer(self.trained, self.others, jnp.asarray(part)) for part in padded]
        return {name: np.concatenate([part[name] for part in parts], 1)[:, : len(indices)] for name in parts[0]}

    def _answers(self, trained: Any, others: Any, indices: jax.Array) -> Any:
        return self.network.stateless_call(trained, others, self.photos.centres(indices), training=False)[0]

    def results(self) -> list[dict[str, Any]]:
        answers = {split: self.outputs(split) for split in ("val", "test")}
        return [
            {
                "name": self.job["name"],
                **run,
                **{split: self._figures(answers[split], split, number) for split in answers},
                "maps": {name: _statistics(answers["test"][name][number]) for name in self.maps},
            }
            for number, run in enumerate(self.runs)
        ]

    def _figures(self, outputs: dict[str, np.ndarray], split: str, number: int) -> dict[str, Any]:
        labels = self.photos.labels[self.photos.of[split]]
        logits = {branch: outputs[f"logits_{branch}"][number] for branch in self.branches}
        combined = _softmax(sum(logits.values()) / len(logits))
        of_probabilities = sum(map(_softmax, logits.values())) / len(logits)
        right = {name: values.argmax(1) == labels for name, values in logits.items()}
        right |= {"combined": combined.argmax(1) == labels, "probabilities": of_probabilities.argmax(1) == labels}
        return {
            "accuracy": {name: 100 * float(values.mean()) for name, values in right.items()},
            "loss": float(-np.log(np.maximum(combined[np.arange(len(labels)), labels], 1e-30)).mean()),
            "calibration_error": 100 * _calibration_error(combined, right["combined"]),
            "right": np.packbits(right["combined"]).tobytes().hex(),
        }


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _calibration_error(probabilities: np.ndarray, right: np.ndarray) -> float:
    confidence = probabilities.max(1)
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins = [index == number for number in range(BINS) if (index == number).any()]
    return float(sum(abs(confidence[own].mean() - right[own].mean()) * own.mean() for own in bins))


def _statistics(maps: np.ndarray) -> list[float]:
    """The mean of a map, and its deviation over a photo's positions on average."""
    return [round(float(maps.mean()), 3), round(float(maps.std((1, 2)).mean()), 3)]


def use_matrix_products() -> None:
    """Computes 1x1 convolutions as matrix products and depthwise ones as shifted sums, which vmap leaves fast."""
    from keras.src.backend.jax import nn

    own_convolution = nn.conv

    def shifted(x: Any, size: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
        lengths = x.shape[1:3]
        if padding == "same":
            outputs = [-(-length // stride) for length, stride in zip(lengths, strides, strict=True)]
            added = [
                max(0, (count - 1) * stride + side - length)
                for count, stride, side, length in zip(outputs, strides, size, lengths, strict=True)
            ]
            x = jnp.pad(x, ((0, 0), *((total // 2, total - total // 2) for total in added), (0, 0)))
        else:
            outputs = [
                (length - side) // stride + 1 for length, side, stride in zip(lengths, size, strides, strict=True)
            ]
        for row, column in np.ndindex(*size):
            last = [
                start + (count - 1) * stride + 1
                for start, count, stride in zip((row, column), outputs, strides, strict=True)
            ]
            yield row, column, x[:, row : last[0] : strides[0], column : last[1] : strides[1]]

    def pair(strides: Any) -> tuple[int, int]:
        return (strides, strides) if isinstance(strides, int) else tuple(strides)

    def convolution(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
        kernel, steps = jnp.asarray(kernel), pair(strides)
        if kernel.shape[:2] == (1, 1):
            return jnp.einsum("bhwc,cd->bhwd", inputs[:, :: steps[0], :: steps[1]], kernel[0, 0])
        if kernel.shape[2] <= 8:
            columns = [x for _, _, x in shifted(inputs, kernel.shape[:2], steps, padding)]
            return jnp.concatenate(columns, -1) @ kernel.reshape(-1, kernel.shape[-1])
        return own_convolution(inputs, kernel, strides, padding, data_format, dilation_rate)

    def depthwise(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
        kernel = jnp.asarray(kernel)
        products = shifted(inputs, kernel.shape[:2], pair(strides), padding)
        return sum(x * kernel[row, column, :, 0] for row, column, x in products)

    nn.conv, nn.depthwise_conv = convolution, depthwise


def finish(job: dict[str, Any], photos: Photos, folder: Path) -> Iterator[dict[str, Any]]:
    """The results of a job's runs: of the search, then of the other seeds with what it has chosen."""
    group = Group(job, photos, folder)
    choices = list(product(job["rates"], job["decays"]))
    found = []
    for seed in job["search_seeds"]:
        group.train([{"seed": seed, "rate": rate, "decay": decay} for rate, decay in choices])
        found += group.results()
        yield from found[-len(choices) :]
    if job.get("seeds"):
        rate, decay = best_choice(found)
        group.train([{"seed": seed, "rate": rate, "decay": decay} for seed in job["seeds"]])
        yield from group.results()


def best_choice(results: list[dict[str, Any]]) -> tuple[float, float]:
    """The learning rate and decay with the highest mean accuracy on validation photos, of equals the lowest loss."""
    choices = dict.fromkeys((run["rate"], run["decay"]) for run in results)

    def quality(choice: tuple[float, float]) -> tuple[float, float]:
        own = [run["val"] for run in results if (run["rate"], run["decay"]) == choice]
        accuracy = np.mean([figures["accuracy"]["combined"] for figures in own])
        return round(float(accuracy), 6), -float(np.mean([figures["loss"] for figures in own]))

    return max(choices, key=quality)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--share", default="0/1", help="I/N: every N-th job, from the I-th on.")
    parser.add_argument("--until", type=float, default=math.inf, help="Unix time after which no job is begun.")
    arguments = parser.parse_args()
    first, every = map(int, arguments.share.split("/"))
    use_matrix_products()
    for job in json.loads(arguments.jobs.read_text(encoding="utf-8"))[first::every]:
        if time.time() > arguments.until:
            print("left out:", job["name"], flush=True)
            continue
        began = time.perf_counter()
        photos = Photos(job["photos"], arguments.jobs.parent)
        for result in finish(job, photos, arguments.jobs.parent):
            with arguments.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
        print(f"{job['name']}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
