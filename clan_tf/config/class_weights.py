"""The weights of the classes in the loss, as a config has them."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, WrapValidator

from clan_tf import limits
from clan_tf.config.section import Name
from clan_tf.errors import nearest, shown

WORDS = ("none", "balanced")
_Weight = Annotated[float, Field(ge=0, le=limits.CLASS_WEIGHT)]
_ByName = Annotated[dict[Name, _Weight], Field(max_length=limits.CLASSES)]
_BY_NAME = TypeAdapter(_ByName)


def _validated(value: Any, handler: Any) -> Any:
    """Reads `none`, `balanced` or a mapping; YAML takes names such as 007 and no for numbers and truth values."""
    if isinstance(value, str) and value in WORDS:
        return value
    if not isinstance(value, dict):
        raise ValueError(
            f"must be none, balanced or a mapping from names of classes to weights; received {shown(value)}."
            f"{nearest(str(value)[:100], list(WORDS))}"
        )
    for name, weight in value.items():
        if not isinstance(name, str):
            raise ValueError(
                f"must have names of classes as keys; YAML reads one of them as {shown(name)}. Put it in quotes, as in "
                '{"007": 2}'
            )
        if isinstance(weight, dict):
            raise ValueError(
                f"must have a number for each class; received {shown(weight)} for {shown(name)}. Names with dots are "
                'set in a mapping, as in {"St. Bernard": 2}'
            )
    return _BY_NAME.validate_python(value)


if TYPE_CHECKING:
    ClassWeights = Literal["none", "balanced"] | dict[str, float]
else:
    ClassWeights = Annotated[Literal["none", "balanced"] | _ByName, WrapValidator(_validated)]
