"""The largest values accepted from configs, models and search spaces: far above what anybody trains.

They are checked before anything is allocated or looped over, so that a number with a digit too many, or a malicious
file, causes an error message instead of exhausting memory.
"""

CLASSES = 100_000
IMAGE_SIZE = 4096
RESIZE_SIZE = 8192
TAPS = 16
"""Mid-level layers."""
EMBED_DIM = 8192
KERNEL_SIZE = 63
REDUCED_DIM = 1024
"""Channels whose pairs are features of bilinear pooling: there are as many as its square."""
SKETCH_DIM = 65_536
RANK = 64
FILTERS = 100
"""Filters of each class in a filter bank."""
ATTENTIONS = 8
"""Attentions over channels."""
CROPS = 3
"""Squares of a photo, one in the other."""
PHOTO_PARTS = 8
"""Parts of a photo, each with an attention map."""
GROUPS = 4096
"""Groups of channels."""
EMBEDDING_GRID = 64
"""Side of the grid of positions whose every number has a weight."""
SEED = 2**31 - 1
FEATURE_SCALE = 1e6
LOSS_WEIGHT = 1e6
LEVELS = 20
"""Of a taxonomy, that of the classes among them."""
TAXONOMY_BYTES = 2**23
"""Of a taxonomy as it is written into a model's file, which must be read again."""
CLASS_WEIGHT = 1e6
LOGIT_ADJUSTMENT = 100
FOCAL_GAMMA = 100
MEMBERS = 20
"""Models of an ensemble."""
TEMPERATURE = 100.0
"""Of calibration; its inverse is the smallest."""
NAME_LENGTH = 1000
"""Characters of the name of a class, a layer or a branch."""
PATH_LENGTH = 4096
"""Characters of a path or address."""

EPOCHS = 100_000
BATCH_SIZE = 65_536
AUTO_BATCH_SIZE = 64
"""The largest that `training.batch_size: auto` chooses."""
GENERATED_PHOTOS = 20_000
"""Drawn for each split; they are kept in memory."""
REPEATS = 1000
FOLDS = 1000
"""Of cross-validation: each is a whole training."""

PARAMETERS = 100
"""Keys of a search space."""
CONDITIONS = 10_000
"""Combinations of the values that conditions of a search space name."""
CHOICES = 1000
"""Values of one key of a search space that are written out; each is tried on the experiment before the search."""
VALUES = 10_000
"""Values of one key of a search space that are `step` apart."""
TRIALS = 100_000
HOURS = 100_000
