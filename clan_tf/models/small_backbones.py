"""Backbones that Keras Applications lacks: the paper's VGG-16 with batch normalisation, and a tiny one."""

from typing import Any

import keras

VGG16_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
TINY_STAGES = (24, 48, 96, 128)


def vgg16_bn(input_shape: tuple[int, int, int]) -> keras.Model:
    """Builds VGG-16 with batch normalisation after each convolution, without its dense layers (14,723,136 parameters).

    Args:
        input_shape: `(height, width, 3)`; the photos are RGB, scaled to 0…1 and normalised as torchvision does.

    Reference:
        Simonyan and Zisserman, ICLR 2015; the variant whose size and cost the paper's Table 5 gives.
    """
    inputs = x = keras.Input(input_shape)
    for block, (filters, convolutions) in enumerate(VGG16_BLOCKS, start=1):
        for index in range(1, convolutions + 1):
            x = _convolution(x, filters, f"block{block}", index, use_bias=True)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return keras.Model(inputs, x, name="vgg16_bn")


def tiny(input_shape: tuple[int, int, int]) -> keras.Model:
    """Builds four stages of two 3x3 convolutions at 1/2 to 1/16 of the photo's size, for the demo and for tests.

    Args:
        input_shape: `(height, width, 3)`; the photos are RGB, scaled to -1…1.
    """
    inputs = x = keras.Input(input_shape)
    for stage, filters in enumerate(TINY_STAGES, start=1):
        x = _convolution(x, filters, f"stage{stage}", 1, strides=2)
        x = _convolution(x, filters, f"stage{stage}", 2)
    return keras.Model(inputs, x, name="tiny")


def _convolution(x: Any, filters: int, group: str, index: int, strides: int = 1, use_bias: bool = False) -> Any:
    x = keras.layers.Conv2D(
        filters, 3, strides=strides, padding="same", use_bias=use_bias, name=f"{group}_conv{index}"
    )(x)
    # Momentum and epsilon are PyTorch's defaults, as in the paper's implementation.
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{group}_bn{index}")(x)
    return keras.layers.ReLU(name=f"{group}_relu{index}")(x)
