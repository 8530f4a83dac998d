"""Relations between positions (eqs. 2 and 5-7 of the CLAN paper) as pure functions of `keras.ops`.

Shapes: `query` and `key` are `(batch, n, width)`, `value` is `(batch, n, value_width)`, where `n = height * width`
counts positions; every function returns `(batch, n, value_width)` in the dtype of its input.
"""

from typing import Any, Literal, get_args

import keras
from keras import ops

Relation = Literal["gaussian", "embedded_gaussian", "dot_product"]
RELATIONS: tuple[str, ...] = get_args(Relation)

Tensor = Any

WHOLE_SOFTMAX_POSITIONS = 1024
"""Up to this many positions, the softmax metrics hold the whole `(n, n)` matrix: 4 MB per photo in float32."""
DEFAULT_QUERY_BLOCK = 512


def relate(
    relation: Relation,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_block: int | None = None,
    training: bool | None = None,
) -> Tensor:
    """Computes the weighted sum of `value` over all positions (eq. 2), in float32.

    Float32 because the paper's scores are not scaled by the width: in half precision they overflow (float16) or are
    rounded to whole units (bfloat16) before the softmax.

    Args:
        relation: `"gaussian"` and `"embedded_gaussian"` normalise with a softmax (eqs. 5, 6; they differ only in what
            the caller passes as `query` and `key`), `"dot_product"` with `n` (eq. 7).
        query_block: softmax metrics in training only: how many queries are related at a time. `None` uses the whole
            matrix up to 1,024 positions and blocks of 512 above.
        training: whether gradients will be needed. Without them nothing is kept from one layer to the next, and the
            whole matrix, which every export format can express, takes less time.
    """
    dtype = query.dtype
    query, key, value = (ops.cast(x, "float32") for x in (query, key, value))
    block = block_of_queries(query.shape[1], query_block)
    if relation == "dot_product":
        related = dot_product_attention(query, key, value)
    elif training and block is not None:
        related = blockwise_attention(query, key, value, block)
    else:
        related = softmax_attention(query, key, value)
    return ops.cast(related, dtype)


def dot_product_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Computes eq. 7 in the order with fewer multiply-accumulates; in the linear one if `n` is not known."""
    positions, width, value_width = query.shape[1], query.shape[2], value.shape[2]
    if positions is not None and pairwise_is_cheaper(positions, width, value_width):
        return pairwise_dot_product(query, key, value)
    return linear_dot_product(query, key, value)


def pairwise_is_cheaper(positions: int, width: int, value_width: int) -> bool:
    """Returns whether the `(n, n)` order of the dot product takes fewer multiply-accumulates than the linear one."""
    return positions * (width + value_width) < 2 * width * value_width


def pairwise_dot_product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Computes `(query keyᵀ / n) value`: `n² (width + value_width)` multiply-accumulates, an `(n, n)` matrix."""
    scores = ops.matmul(query, ops.swapaxes(key, 1, 2))  # eq. 7
    return ops.matmul(scores / _positions(key), value)  # eq. 2


def linear_dot_product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Computes it as `query (keyᵀ value / n)`: `2 n width value_width` multiply-accumulates, no `(n, n)` matrix."""
    context = ops.matmul(ops.swapaxes(key, 1, 2), value) / _positions(key)
    return ops.matmul(query, context)


def softmax_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Computes `softmax(query keyᵀ) value` (eqs. 5, 6) with the whole `(n, n)` matrix in memory."""
    return ops.matmul(_softmax_weights(query, key), value)


def blockwise_attention(query: Tensor, key: Tensor, value: Tensor, block: int) -> Tensor:
    """Computes `softmax_attention` for `block` queries at a time, with the same values and gradients.

    The blocks run one after the other (`ops.scan`), and the backward pass recomputes each block's weights instead of
    keeping them (`keras.remat`), so that at most a `(batch, block, n)` slice of the matrix exists at any time.
    """
    attend = keras.remat(softmax_attention)

    def step(carry: Tensor, query_rows: Tensor) -> tuple[Tensor, Tensor]:
        return carry, attend(query_rows, key, value)

    query_blocks = _split_rows(query, block)
    # TensorFlow's scan needs a carry of the shape of its results; this one is passed on unchanged.
    carry = ops.zeros((ops.shape(query)[0], block, value.shape[2]), dtype=query.dtype)
    _, rows = ops.scan(step, carry, query_blocks)
    return _join_rows(rows, ops.shape(query)[1])


def relation_weights(relation: Relation, query: Tensor, key: Tensor) -> Tensor:
    """Computes the weights by which `relate` sums values: `f / C` of eq. 2, float32 `(batch, queries, n)`.

    `query` may hold only a few positions; `key` holds all.
    """
    query, key = ops.cast(query, "float32"), ops.cast(key, "float32")
    if relation == "dot_product":
        return ops.matmul(query, ops.swapaxes(key, 1, 2)) / _positions(key)  # eq. 7
    return _softmax_weights(query, key)


def relation_macs(relation: Relation, positions: int, width: int, value_width: int) -> int:
    """Counts the multiply-accumulates of the two matrix products of one relation, for one photo."""
    pairwise = positions * positions * (width + value_width)
    if relation == "dot_product":
        return min(pairwise, 2 * positions * width * value_width)
    return pairwise


def block_of_queries(positions: int | None, query_block: int | None = None) -> int | None:
    """Returns how many queries the softmax metrics relate at a time in training; `None` for all at once."""
    is_small = positions is not None and positions <= WHOLE_SOFTMAX_POSITIONS
    return query_block or (None if is_small else DEFAULT_QUERY_BLOCK)


def relation_bytes(
    relation: Relation, positions: int, width: int, value_width: int, query_block: int | None = None
) -> int:
    """Counts float32 bytes of a relation's largest intermediate in training, for one photo."""
    if relation == "dot_product" and not pairwise_is_cheaper(positions, width, value_width):
        return 4 * width * value_width
    rows = positions if relation == "dot_product" else (block_of_queries(positions, query_block) or positions)
    return 4 * min(rows, positions) * positions


def _softmax_weights(query: Tensor, key: Tensor) -> Tensor:
    return ops.softmax(ops.matmul(query, ops.swapaxes(key, 1, 2)), axis=-1)  # eqs. 5, 6


def _positions(x: Tensor) -> Tensor:
    return ops.cast(ops.shape(x)[1], x.dtype)


def _split_rows(x: Tensor, block: int) -> Tensor:
    """Splits `(batch, n, width)` into `(blocks, batch, block, width)`, the last block padded with zeros."""
    batch, positions = ops.shape(x)[0], ops.shape(x)[1]
    padding = -positions % block
    padded = ops.pad(x, [[0, 0], [0, padding], [0, 0]])
    blocks = ops.reshape(padded, (batch, (positions + padding) // block, block, x.shape[2]))
    return ops.transpose(blocks, (1, 0, 2, 3))


def _join_rows(rows: Tensor, positions: int) -> Tensor:
    blocks, batch, block, width = ops.shape(rows)
    joined = ops.reshape(ops.transpose(rows, (1, 0, 2, 3)), (batch, blocks * block, width))
    return joined[:, :positions]
