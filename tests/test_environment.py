"""What a run says about the computer that it ran on."""

import pytest
import tensorflow as tf

from clan_tf.environment import SETTINGS, describe_computing


def test_what_the_last_digits_depend_on_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    described = describe_computing()
    assert described["settings"] == "ONEDNN_MAX_CPU_ISA=AVX2"
    assert int(described["threads"]) >= 1 and described["tensorflow"] == tf.__version__ and described["processor"]
