"""What RA-CNN's squares can learn from, and where they start: measurements on a trained run.

    python tests/tools/square_gradients.py RUN

It compares the derivative of the second scale's cross-entropy with respect to its square, over test photos, with what
the loss does when the square really moves. A correlation near 1 would be one that gradient descent can follow. Beside
the photo itself, blurred ones give the derivative. Then a new model's proposals are fitted to the train photos, and
their distances from the peaks of the test photos' maps are printed, with those of a square that is always at the mean.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf

from clan_tf.data import read_source
from clan_tf.data.check import check_splits
from clan_tf.data.pipeline import evaluation_batches, open_reader, training_view
from clan_tf.layers.sampling import resample
from clan_tf.layers.squares import square_positions
from clan_tf.models import load_model
from clan_tf.models.backbones import backbone_spec, preprocess
from clan_tf.models.build import build_model
from clan_tf.models.ra_cnn import peak_squares
from clan_tf.progress import Progress
from clan_tf.run import RunDirectory

MOVES, BLURS, PHOTOS = (0.02, 0.05, 0.1), (1, 2, 4, 8, 16), 256
AXES = ("row", "column", "half side")


def main() -> None:
    """Prints both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run directory of RA-CNN")
    run = RunDirectory(parser.parse_args().run)
    experiment = run.experiment()
    source = read_source(experiment.data)
    checked = check_splits(source.splits, experiment.data, Progress())
    readers = {
        split: open_reader(checked[split], training_view(experiment.data), "none", Progress().track)
        for split in ("train", "test")
    }
    photos, labels = [], []
    for batch, own, weights in evaluation_batches(readers["test"], checked["test"].labels, 64):
        photos.append(np.asarray(batch)[np.asarray(weights) > 0])
        labels.append(np.asarray(own)[np.asarray(weights) > 0])
    chosen = np.random.default_rng(0).permutation(len(checked["test"].labels))[:PHOTOS]
    x, y = tf.constant(np.concatenate(photos)[chosen], tf.float32), np.concatenate(labels)[chosen]
    print_gradients(load_model(run.best), x, y)
    model = build_model(experiment, len(source.class_names))
    model.prepare(evaluation_batches(readers["train"], checked["train"].labels, 32))
    print_starts(model, x)


def print_gradients(model: keras.Model, photos: tf.Tensor, labels: np.ndarray) -> None:
    """Prints, for each blur, the derivative's size and its correlation with differences of the loss."""
    squares = model.with_outputs(["square_2"])(photos)["square_2"]
    network, head = model.crop_models[0], model.get_layer("logits_scale_2")
    mode = backbone_spec(model.backbone).preprocessing

    def cut(source: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
        return resample(source, *(square_positions(at, axis, model.crop_size, model.image_size) for axis in (0, 1)))

    def losses(crops: tf.Tensor) -> tf.Tensor:
        pooled = tf.reduce_mean(network(preprocess(crops, mode), training=False)["top"], axis=(1, 2))
        return keras.losses.sparse_categorical_crossentropy(labels, head(pooled), from_logits=True)

    moved = {}
    for move in MOVES:
        for axis, name in enumerate(AXES):
            step = move * np.eye(3, dtype="float32")[axis]
            up, down = (losses(cut(photos, squares + sign * step)) for sign in (1, -1))
            moved[name, move] = ((up - down) / (2 * move)).numpy()
    print(
        f"{len(labels)} test photos; mean size of differences {np.mean([np.abs(each) for each in moved.values()]):.2f}"
    )
    for blur in BLURS:
        side = photos.shape[1:3]
        source = photos if blur == 1 else tf.image.resize(tf.nn.avg_pool2d(photos, blur, blur, "SAME"), side)
        with tf.GradientTape() as tape:
            tape.watch(squares)
            blurred = cut(source, squares)
            value = losses(tf.stop_gradient(cut(photos, squares) - blurred) + blurred)
        gradient = tape.gradient(value, squares).numpy()
        found = [np.corrcoef(gradient[:, AXES.index(name)], each)[0, 1] for (name, _), each in moved.items()]
        print(
            f"blur of {blur:2d} pixels: mean size {np.abs(gradient).mean():6.2f}, "
            f"correlations from {min(found):.2f} to {max(found):.2f}"
        )


def print_starts(model: keras.Model, photos: tf.Tensor) -> None:
    """Prints how far the first square's centre is from the peaks, in sides of the photo."""
    features = model.with_outputs(["grid_1", "square_2"])(photos)
    peaks = peak_squares(np.asarray(features["grid_1"]))[:, :2]
    missed = np.abs(np.asarray(features["square_2"])[:, :2] - peaks).mean()
    mean = np.abs(peaks - peaks.mean(axis=0)).mean()
    print(f"squares of a new model miss the peaks by {missed:.3f}, one at the mean by {mean:.3f}")


if __name__ == "__main__":
    main()
