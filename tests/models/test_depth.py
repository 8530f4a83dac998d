"""Depth groups: complete, in order, and never through a residual block."""

import re

import keras
import pytest

from clan_tf.models.backbones import build_backbone
from clan_tf.models.depth import DEPTH_GROUPS, depth_groups


def layers_of(group: list[keras.Variable]) -> list[str]:
    return [variable.path.rpartition("/")[0].rpartition("/")[2] for variable in group]


@pytest.mark.parametrize(
    ("name", "count", "block", "blocks"),
    [
        ("tiny", 8, r"stage\d_(?:conv|bn)(?=\d)", 0),
        ("vgg16", 12, r"block\d_conv\d", 13),
        ("resnet50", 12, r"conv\d_block\d", 16),
        ("mobilenet_v2", 12, r"block_(?:1|2|4|5|7|8|9|11|12|14|15)(?=_)", 11),
        ("convnext_tiny", 12, r"stage_\d_block_\d+", 18),
    ],
)
def test_every_weight_is_in_one_group_and_every_residual_block_too(
    name: str, count: int, block: str, blocks: int
) -> None:
    """The blocks of which the names tell; those of MobileNet-V2 that have a shortcut."""
    mid = {"tiny": ["stage2_relu2"], "resnet50": ["conv3_x", "conv4_x"]}.get(name, [])
    backbone = build_backbone(name, 64, mid)
    groups = depth_groups(backbone)
    assert len(groups) == count <= DEPTH_GROUPS
    grouped = [id(variable) for group in groups for variable in group]
    assert sorted(grouped) == sorted(id(variable) for variable in backbone.trainable_variables)
    found: dict[str, set[int]] = {}
    for index, group in enumerate(groups):
        for layer in layers_of(group):
            if match := re.search(block, layer):
                found.setdefault(match[0], set()).add(index)
    if blocks:
        assert len(found) == blocks and all(len(indices) == 1 for indices in found.values())


def test_groups_go_from_the_photo_to_the_top() -> None:
    stages = [layer for group in depth_groups(build_backbone("tiny", 64)) for layer in layers_of(group)]
    numbers = [(int(stage), int(index)) for stage, index in (re.findall(r"\d", layer) for layer in stages)]
    assert numbers == sorted(numbers) and len(set(numbers)) == 8


def test_neighbouring_blocks_are_joined_in_equal_numbers() -> None:
    inputs = x = keras.Input((4,))
    for index in range(7):
        x = keras.layers.Dense(4, use_bias=False, name=f"dense{index}")(x)
    groups = depth_groups(keras.Model(inputs, x), most=3)
    assert [len(group) for group in groups] == [3, 2, 2]
