"""The drawn photos of the demo."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from clan_tf.config import load_experiment
from clan_tf.data import read_source
from clan_tf.data.sources.generated import CLASS_NAMES, draw_photo


def test_generated_photos_depend_on_seed_split_and_index() -> None:
    config = load_experiment("demo", ["data.generated_photos={train: 16, val: 8, test: 8}"]).data
    first, again = read_source(config), read_source(config)
    assert first.splits == again.splits
    contents = [photo.content for photos in first.splits.values() for photo in photos]
    assert len(set(contents)) == len(contents)
    assert sorted({photo.label for photo in first.splits["val"]}) == list(range(8)) == list(range(len(CLASS_NAMES)))


def test_average_colour_does_not_solve_the_generated_photos() -> None:
    photos = np.stack([draw_photo(i % 8, np.random.default_rng([3, i]), 48) for i in range(1200)])
    features = np.concatenate([photos.mean(axis=(1, 2)), photos.std(axis=(1, 2))], axis=1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    labels = np.arange(1200) % 8
    model = LogisticRegression(max_iter=2000).fit(features[:800], labels[:800])
    assert model.score(features[800:], labels[800:]) < 0.25  # chance is 0.125
