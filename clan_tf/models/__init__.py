"""CLAN, the plain baseline, other methods, their backbones, and the files in which they are saved."""

from clan_tf.models.backbones import BACKBONES
from clan_tf.models.bilinear import BCNN, CBP, LRBP
from clan_tf.models.clan import CLAN
from clan_tf.models.classifier import BranchClassifier
from clan_tf.models.combination import COMBINED, combine
from clan_tf.models.complexity import Complexity, complexity
from clan_tf.models.dbt import DBT
from clan_tf.models.ensemble import Ensemble
from clan_tf.models.files import load_model, save_model
from clan_tf.models.filter_bank import DFB
from clan_tf.models.ma_cnn import MACNN
from clan_tf.models.mamc import MAMC
from clan_tf.models.plain import Plain
from clan_tf.models.ra_cnn import RACNN
from clan_tf.models.tasn import TASN

__all__ = [
    "BACKBONES",
    "BCNN",
    "CBP",
    "CLAN",
    "COMBINED",
    "DBT",
    "DFB",
    "LRBP",
    "MACNN",
    "MAMC",
    "RACNN",
    "TASN",
    "BranchClassifier",
    "Complexity",
    "Ensemble",
    "Plain",
    "combine",
    "complexity",
    "load_model",
    "save_model",
]
