"""The `training` section of an experiment: the recipe, and where and how it runs."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from clan_tf import limits
from clan_tf.choices import Calibration
from clan_tf.config.class_weights import ClassWeights
from clan_tf.config.section import (
    AUTO,
    BatchOrAuto,
    Fraction,
    Name,
    NotNegative,
    PositiveNumber,
    RateOrAuto,
    Section,
    up_to,
)

Epochs = Annotated[float, Field(gt=0, le=limits.EPOCHS)]

Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]

DEVICE_PATTERN = r"^(auto|cpu|gpu|gpu:[0-9]{1,4}(,[0-9]{1,4})*)$"


class ScheduleConfig(Section):
    """The learning rate after the warm-up."""

    kind: Literal["constant", "step", "exponential", "cosine"] = "step"
    """`step` multiplies it by `factor` every `every` epochs at once, `exponential` smoothly; `cosine` follows half a
    cosine down to 0 at the end of the run (Loshchilov and Hutter, ICLR 2017)."""
    factor: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Factor of `step` and `exponential`."""
    every: Epochs = 2
    """Epochs after which the learning rate has changed by `factor` once."""


class LossWeightSchedule(Section):
    """A branch's loss weight goes in a straight line from `start` to its value in `model.loss_weights`."""

    start: Annotated[float, Field(ge=0, le=limits.LOSS_WEIGHT)]
    """Weight at the start."""
    epochs: Epochs
    """Epochs until the weight of `model.loss_weights` is reached."""


class TrainingConfig(Section):
    """The recipe, and where and how it runs; but for the learning rate, the defaults are the paper's for ResNets."""

    epochs: Annotated[int, up_to(limits.EPOCHS)] = 120
    """Number of epochs."""
    batch_size: BatchOrAuto = 36
    """Photos per step, over all devices; `auto` is the largest power of two up to 64 that fits into the free memory by
    an estimate."""
    accumulation: Annotated[int, up_to(limits.BATCH_SIZE)] | None = None
    """In how many parts a batch is computed, which takes less memory; `batch_size` must be a multiple. By default 1, or
    as many as the free memory requires by an estimate."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """`sgd` with momentum, as in the paper, or `adamw` (Loshchilov and Hutter, ICLR 2019), which suits ConvNeXt and
    needs a much lower learning rate, such as 1e-4."""
    learning_rate: RateOrAuto = 0.005
    """Learning rate after the warm-up, by default half the paper's; `auto` chooses it by a range test of at most 100
    steps (Smith, WACV 2017)."""
    head_learning_rate_factor: PositiveNumber = 1.0
    """Factor on the learning rate of everything but the backbone."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor by which the backbone's learning rate falls from each of at most 12 groups of its blocks to the one before
    it, towards the photo; the last group has `learning_rate` times this factor (Bao and others, ICLR 2022)."""
    warmup_epochs: Annotated[float, Field(ge=0, le=limits.EPOCHS)] = 0.0
    """Epochs over which the learning rate rises from 0."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Learning rate after the warm-up."""
    momentum: Fraction = 0.9
    """Momentum of `sgd`; `adamw` has its own."""
    weight_decay: NotNegative = 1e-4
    """Weight decay: with `sgd` coupled, which means added to the gradient; with `adamw` decoupled, which means
    multiplied by the learning rate alone, so that larger values are usual, such as 0.05."""
    weight_decay_on: Literal["all", "kernels"] = "all"
    """Whether weight decay applies to all weights, or to kernels alone."""
    label_smoothing: Fraction = 0.0
    """Share of the label that is spread over all classes."""
    class_weights: ClassWeights = "none"
    """What the cross-entropy of each class is multiplied by: `none` for 1, `balanced` for photos / (classes x photos of
    the class) among the used train photos, or a mapping from names of classes to weights; those left out have 1. Losses
    are divided by the number of photos, not by the sum of their weights."""
    logit_adjustment: Annotated[float, Field(ge=0, le=limits.LOGIT_ADJUSTMENT)] = 0.0
    """Factor on the logarithm of each class's share of the used train photos, which is added to the logits in the loss
    alone, so that rare classes are predicted more often: 0 for off, usually 1 (Menon and others, ICLR 2021)."""
    focal_gamma: Annotated[float, Field(ge=0, le=limits.FOCAL_GAMMA)] = 0.0
    """Exponent of the focal loss (Lin and others, ICCV 2017), which multiplies the cross-entropy of a class of
    probability p by (1 - p) to this power: 0 for the cross-entropy itself, usually 2."""
    clipnorm: PositiveNumber | None = None
    """Largest norm of the whole gradient; longer ones are scaled down."""
    ema: Fraction | None = None
    """Decay of a moving average of the weights, such as 0.999; the average is validated and saved."""
    freeze_epochs: Annotated[int, Field(ge=0, le=limits.EPOCHS)] = 0
    """For how many epochs the backbone keeps its weights."""
    freeze_batch_norm: bool = False
    """Whether the backbone's batch normalisation keeps its statistics and weights for the whole run."""
    loss_weight_schedules: dict[Name, LossWeightSchedule] = {}
    """By branch, how the weight of its loss changes."""
    early_stopping: Annotated[int, up_to(limits.EPOCHS)] | None = None
    """Epochs without a higher validation accuracy after which training ends."""
    calibrate: Calibration = "temperature"
    """How probabilities are calibrated after training: not at all, or by a temperature that is fitted on validation
    photos (Guo and others, ICML 2017), of which it takes 50, 5 of them wrong; with fewer it stays 1."""
    accept_error: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of the answers that the trained model gives, the largest share that may be wrong, such as 0.05: less probable
    ones are withheld, below a threshold that is fitted on validation photos so that this holds with 95 % confidence. By
    default all are given."""
    precision: Precision = "float32"
    """Precision of the computation; weights stay float32. `auto` chooses the half precision that this hardware
    accelerates, or float32."""
    device: Annotated[str, Field(pattern=DEVICE_PATTERN, max_length=200)] = "auto"
    """`auto`, `cpu`, `gpu` (all of them) or some of them: `gpu:0,1`."""
    cluster: Literal["auto", "slurm"] = "auto"
    """Where the addresses of several hosts come from: `TF_CONFIG` (`auto`) or `slurm`."""
    deterministic: bool | None = None
    """Whether TensorFlow's operators are deterministic; by default on a CPU."""
    checkpoint_minutes: PositiveNumber = 10.0
    """Minutes between two checkpoints within an epoch; one is also written after every epoch."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the initial weights, the order of the photos and augmentation."""

    @property
    def parts(self) -> int:
        """In how many parts a batch is computed: `accumulation`, or 1 where it isn't decided."""
        return self.accumulation or 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size != AUTO and self.batch_size % self.parts:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of accumulation; received {self.accumulation}"
            )
        default = TrainingConfig.model_fields["momentum"].default
        if self.optimizer == "adamw" and self.momentum != default:
            raise ValueError(
                f"momentum must be left at {default} with optimizer: adamw, which doesn't use it; received "
                f"{self.momentum}. Leave it out, or set optimizer: sgd"
            )
        return self
