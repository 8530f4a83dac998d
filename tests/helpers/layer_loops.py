"""The layers' equations as plain NumPy loops over positions."""

import itertools
from collections.abc import Sequence

import numpy as np

Arrays = dict[str, np.ndarray]


def pointwise_loop(x: np.ndarray, weights: Arrays, name: str) -> np.ndarray:
    """A 1x1 convolution: one matrix for every position."""
    return x @ weights[f"{name}/kernel"][0, 0] + weights[f"{name}/bias"]


def upsample_loop(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centres, one output position at a time."""

    def neighbours(index: int, old: int, new: int) -> tuple[int, int, float]:
        position = (index + 0.5) * old / new - 0.5
        low = int(np.floor(position))
        return max(low, 0), min(low + 1, old - 1), position - low

    result = np.zeros((len(x), height, width, x.shape[3]))
    for row, column in itertools.product(range(height), range(width)):
        above, below, down = neighbours(row, x.shape[1], height)
        left, right, along = neighbours(column, x.shape[2], width)
        upper = (1 - along) * x[:, above, left] + along * x[:, above, right]
        lower = (1 - along) * x[:, below, left] + along * x[:, below, right]
        result[:, row, column] = (1 - down) * upper + down * lower
    return result


def relate_loop(relation: str, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Eq. 2 for one photo: `y_i = (1 / C) sum_j f(i, j) value_j` with positions in rows."""
    related = np.zeros((len(query), value.shape[1]))
    for i in range(len(query)):
        total = 0.0
        for j in range(len(key)):
            score = float(np.sum(query[i] * key[j]))
            weight = score if relation == "dot_product" else np.exp(score)
            related[i] += weight * value[j]
            total += 1.0 if relation == "dot_product" else weight
        related[i] /= total
    return related


def normalize_loop(x: np.ndarray, weights: Arrays, training: bool) -> np.ndarray:
    result = np.zeros_like(x)
    for channel in range(x.shape[-1]):
        values = x[..., channel]
        mean = values.mean() if training else weights["normalization/moving_mean"][channel]
        variance = values.var() if training else weights["normalization/moving_variance"][channel]
        unit = (values - mean) / np.sqrt(variance + 1e-5)
        gamma, beta = weights["normalization/gamma"][channel], weights["normalization/beta"][channel]
        result[..., channel] = gamma * unit + beta
    return result


def refine_loop(relation: str, mid: np.ndarray, fused: np.ndarray, weights: Arrays, training: bool) -> np.ndarray:
    """Eqs. 2 and 3."""
    embedded = relation != "gaussian"
    query = pointwise_loop(fused, weights, "theta") if embedded else fused
    key = pointwise_loop(fused, weights, "phi") if embedded else fused
    value = pointwise_loop(mid, weights, "value_projection")
    related = np.stack(
        [
            relate_loop(relation, *(x.reshape(-1, x.shape[-1]) for x in photo)).reshape(photo[2].shape)
            for photo in zip(query, key, value, strict=True)
        ]
    )
    return mid + normalize_loop(pointwise_loop(related, weights, "output_projection"), weights, training)


def non_local_loop(relation: str, maps: list[np.ndarray], weights: Arrays, training: bool) -> np.ndarray:
    (mid,) = maps
    return refine_loop(relation, mid, mid, weights, training)


def context_attention_loop(relation: str, maps: list[np.ndarray], weights: Arrays, training: bool) -> np.ndarray:
    mid, top = maps
    projected_top = upsample_loop(pointwise_loop(top, weights, "top_projection"), *mid.shape[1:3])
    fused = pointwise_loop(mid, weights, "mid_projection") + projected_top
    return refine_loop(relation, mid, fused, weights, training)


def attention_map_loop(
    pooling: str,
    activation: str,
    mid: np.ndarray,
    kernel: np.ndarray,
    bias: float,
    means: Sequence[float] = (0.0, 0.0),
    deviations: Sequence[float] = (1.0, 1.0),
) -> np.ndarray:
    """Eq. 8 with a 3x3 kernel: `(batch, height, width)`; the pooled maps may be normalised."""
    batch, height, width, _ = mid.shape
    attention = np.zeros((batch, height, width))
    for photo, row, column in itertools.product(range(batch), range(height), range(width)):
        total = bias
        for down, along in itertools.product(range(3), range(3)):
            y, x = row + down - 1, column + along - 1
            if not (0 <= y < height and 0 <= x < width):
                continue
            channels = list(mid[photo, y, x])
            mean, largest = sum(channels) / len(channels), max(channels)
            pooled = {"avg": [mean], "max": [largest], "avg_max": [mean, largest]}[pooling]
            for index, value in enumerate(pooled):
                total += kernel[down, along, index, 0] * (value - means[index]) / deviations[index]
        attention[photo, row, column] = 1 / (1 + np.exp(-total)) if activation == "sigmoid" else total
    return attention


def attend_in_cells_loop(attention: np.ndarray, top: np.ndarray) -> np.ndarray:
    """Eq. 9 where the factor is whole: each top position is weighted with the mean over the cell that it covers."""
    attended = np.zeros_like(top)
    high, wide = attention.shape[1] // top.shape[1], attention.shape[2] // top.shape[2]
    for photo, row, column in itertools.product(*map(range, top.shape[:3])):
        cell = attention[photo, row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        attended[photo, row, column] = np.sum(cell) / (high * wide) * top[photo, row, column]
    return attended
