"""The `training` section of an experiment: the recipe, and where and how it runs."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from clan_tf import limits
from clan_tf.config.section import Fraction, Name, NotNegative, PositiveNumber, Section, positive

Epochs = Annotated[float, Field(gt=0, le=limits.EPOCHS)]

Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]


class ScheduleConfig(Section):
    """The learning rate after the warm-up.

    Times `factor` every `every` epochs, at once (`step`) or smoothly (`exponential`); or along half a cosine down to 0
    at the end of the run (`cosine`, Loshchilov and Hutter, ICLR 2017).
    """

    kind: Literal["constant", "step", "exponential", "cosine"] = "step"
    factor: Annotated[float, Field(gt=0, le=1)] = 0.9
    every: Epochs = 2


class LossWeightSchedule(Section):
    """A branch's loss weight goes in a straight line from `start` to its value in `model.loss_weights`."""

    start: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)]
    epochs: Epochs


class TrainingConfig(Section):
    """The recipe; the defaults are the paper's for ResNets.

    `accumulation` computes a batch in so many parts. `weight_decay` is coupled: added to the gradient. `ema` is the
    share of the average of the weights that is kept at each step. What isn't the backbone learns at
    `head_learning_rate_factor` times the rate. For `freeze_epochs` the backbone stays as it is; `freeze_batch_norm`
    leaves its batch norm so for the whole run.
    """

    epochs: positive(limits.EPOCHS) = 120
    batch_size: positive(limits.BATCH_SIZE) = 36
    accumulation: positive(limits.BATCH_SIZE) = 1
    learning_rate: PositiveNumber = 0.01
    head_learning_rate_factor: PositiveNumber = 1.0
    warmup_epochs: Annotated[float, Field(ge=0, le=limits.EPOCHS)] = 0.0
    schedule: ScheduleConfig = ScheduleConfig()
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 1e-4
    weight_decay_on: Literal["all", "kernels"] = "all"
    label_smoothing: Fraction = 0.0
    clipnorm: PositiveNumber | None = None
    ema: Fraction | None = None
    freeze_epochs: Annotated[int, Field(ge=0, le=limits.EPOCHS)] = 0
    freeze_batch_norm: bool = False
    loss_weight_schedules: dict[Name, LossWeightSchedule] = {}
    early_stopping: positive(limits.EPOCHS) | None = None
    precision: Precision = "float32"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|gpu|gpu:[0-9]{1,4}(,[0-9]{1,4})*)$", max_length=200)] = "auto"
    cluster: Literal["auto", "slurm"] = "auto"
    deterministic: bool | None = None
    checkpoint_minutes: PositiveNumber = 10.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of accumulation; received {self.accumulation}"
            )
        return self
