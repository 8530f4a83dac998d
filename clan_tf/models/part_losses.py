"""MA-CNN's losses of attention maps: each is to be compact, and elsewhere than the others."""

from keras import ops

from clan_tf.layers.relation import Tensor


def compactness_losses(maps: Tensor) -> Tensor:
    """Computes how far each map is spread around its peak, summed over the maps: `sum_x m(x) |x - peak|^2`.

    The distance is in sides of the map. The peak's place is a constant: no gradient passes.

    Args:
        maps: not negative, each of sum 1, `(batch, height, width, parts)`.

    Returns:
        `(batch,)`.

    Reference:
        Zheng, Fu, Mei and Luo, ICCV 2017, eq. 5.
    """
    height, width, parts = maps.shape[1:]
    peak = ops.argmax(ops.reshape(maps, (-1, height * width, parts)), axis=1)
    rows, columns = (ops.arange(length, dtype="float32") / length for length in (height, width))
    down = rows[None, :, None, None] - ops.take(rows, peak // width)[:, None, None, :]
    across = columns[None, None, :, None] - ops.take(columns, peak % width)[:, None, None, :]
    return ops.sum(maps * (ops.square(down) + ops.square(across)), axis=(1, 2, 3))


def diversity_losses(maps: Tensor) -> Tensor:
    """Computes how much each map is where another one is, summed over the maps: `n sum_x m_i(x) max_{k != i} m_k(x)`.

    With the number `n` of positions, it is 1 for each map where all are the same everywhere. The paper's margin, which
    is subtracted from the maximum, would be a constant here, because the sum of a map is 1.

    Args:
        maps: as for `compactness_losses`, of at least two parts.

    Returns:
        `(batch,)`.

    Reference:
        Zheng, Fu, Mei and Luo, ICCV 2017, eq. 6.
    """
    height, width, parts = maps.shape[1:]
    total: Tensor = 0.0
    for index in range(parts):
        others = ops.concatenate([maps[..., :index], maps[..., index + 1 :]], axis=-1)
        total += ops.sum(maps[..., index] * ops.max(others, axis=-1), axis=(1, 2))
    return height * width * total
