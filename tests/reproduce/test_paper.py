"""The numbers that the paper prints, typed in again."""

import pytest

from clan_tf.config import load_experiment
from clan_tf.reproduce.paper import TABLES, data_set_of


def test_only_the_papers_photos_have_the_papers_numbers() -> None:
    cub = load_experiment("vgg16_3scale").data
    assert data_set_of(cub, 200) == "cub"
    assert data_set_of(cub, 40) is None
    assert data_set_of(cub.model_copy(update={"fraction": 0.5}), 200) is None
    assert data_set_of(cub.model_copy(update={"source": "tfds:cars196"}), 196) == "cars"
    assert data_set_of(cub.model_copy(update={"source": "generated"}), 200) is None


BY_SCALES = {
    "table1": {"Gaussian": (84.6, 84.5), "Embedded Gaussian": (85.1, 85.7), "Dot Product": (85.2, 85.8)},
    "table3": {
        "CLCA + CLSA(Avg)": (85.3, 85.6),
        "CLCA + CLSA(Max)": (85.7, 86.0),
        "CLCA + CLSA(Avg&Max)": (86.0, 86.8),
    },
}
"""The paper's accuracies on CUB with 2 and 3 scales."""
BY_DATA_SET = {
    "table2": {"GAP": (78.7, 90.4, 86.3), "Non-local": (84.8, 92.5, 89.5), "CLCA": (85.8, 92.9, 90.6)},
    "table4": {
        "G-Branch": (84.1, 91.5, 90.1),
        "P-Branch": (85.2, 91.8, 90.3),
        "A-Branch": (83.1, 88.7, 88.1),
        "CLSA-Branch": (85.8, 92.6, 90.4),
        "G + P": (85.3, 92.1, 90.6),
        "G + P + A": (85.8, 92.9, 90.6),
        "G + P + A + CLSA": (86.8, 93.1, 91.0),
    },
}
"""The paper's accuracies on CUB, Cars and Aircraft."""


@pytest.mark.parametrize("name", BY_SCALES)
def test_the_printed_numbers_by_scales_are_the_papers(name: str) -> None:
    found = {(row.method, row.network.changes["scales"]): row.printed for row in TABLES[name].rows}
    assert found == {
        (method, scales): {"vgg16": {"cub": number}}
        for method, numbers in BY_SCALES[name].items()
        for scales, number in zip((2, 3), numbers, strict=True)
    }


@pytest.mark.parametrize("name", BY_DATA_SET)
def test_the_printed_numbers_by_data_set_are_the_papers(name: str) -> None:
    assert {row.method: row.printed for row in TABLES[name].rows} == {
        method: {"vgg16": dict(zip(("cub", "cars", "aircraft"), numbers, strict=True))}
        for method, numbers in BY_DATA_SET[name].items()
    }


def test_the_printed_numbers_of_table_6_are_the_papers() -> None:
    plain, bcnn, cbp, lrbp, dbt, mamc, dfb, tasn, ra_cnn, ma_cnn, two, three = (
        row.printed for row in TABLES["table6"].rows
    )
    assert bcnn == {"vgg16": {"cub": 84.1, "cars": 91.3, "aircraft": 84.1}}
    assert cbp == {"vgg16": {"cub": 84.0}}
    assert lrbp == {"vgg16": {"cub": 84.2, "cars": 90.9, "aircraft": 87.3}}
    assert dbt == {
        "resnet50": {"cub": 87.5, "cars": 94.1, "aircraft": 91.2},
        "resnet101": {"cub": 88.1, "cars": 94.5, "aircraft": 91.6},
    }
    assert mamc == {"resnet50": {"cub": 86.2, "cars": 92.8}, "resnet101": {"cub": 86.5, "cars": 93.0}}
    assert tasn == {"resnet50": {"cub": 87.9, "cars": 93.8}}
    assert ra_cnn == {"vgg19": {"cub": 85.3, "cars": 92.5, "aircraft": 88.2}}
    assert ma_cnn == {"vgg19": {"cub": 86.5, "cars": 92.8, "aircraft": 89.9}}
    assert dfb == {"resnet50": {"cub": 87.4, "cars": 93.8, "aircraft": 92.0}}
    assert [plain[base] for base in ("vgg16", "resnet50", "resnet101")] == [
        {"cub": 79.1, "cars": 87.0, "aircraft": 85.1},
        {"cub": 86.0, "cars": 92.0, "aircraft": 89.9},
        {"cub": 86.4, "cars": 92.5, "aircraft": 90.5},
    ]
    assert [two[base] for base in ("vgg16", "resnet50", "resnet101")] == [
        {"cub": 85.9, "cars": 92.9, "aircraft": 90.3},
        {"cub": 88.1, "cars": 94.2, "aircraft": 93.2},
        {"cub": 88.7, "cars": 94.5, "aircraft": 93.3},
    ]
    assert three == {"vgg16": {"cub": 86.8, "cars": 93.1, "aircraft": 91.0}}
