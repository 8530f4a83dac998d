"""Examples below the help of every command. `tests/cli/test_help.py` parses them, and reads the configs they name."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("clan-tf train", "clan-tf list configs", "clan-tf train --help"),
    "train": (
        "clan-tf train photos/birds",
        "clan-tf train my.yaml training.epochs=20",
        "clan-tf train --resume --run-dir runs/birds-001",
        "clan-tf train my.yaml --folds 5 --ensemble --run-dir runs/birds-folds",
    ),
    "evaluate": (
        "clan-tf evaluate runs/birds-001",
        "clan-tf evaluate runs/birds-001 --split val --json",
        "clan-tf evaluate runs/birds-001 --config photos/birds --split all",
    ),
    "calibrate": ("clan-tf calibrate runs/birds-001",),
    "predict": (
        "clan-tf predict runs/birds-001 photo.jpg more_photos/",
        "clan-tf predict birds.tflite photo.jpg --top 3 --json",
    ),
    "explain": (
        "clan-tf explain runs/birds-001 photo.jpg --output explained",
        "clan-tf explain runs/birds-001 photo.jpg --output explained --at 120,80",
    ),
    "report": ("clan-tf report runs/birds-001",),
    "export": (
        "clan-tf export runs/birds-001 --format tflite --quantize int8",
        "clan-tf export runs/birds-001 --format onnx --output birds",
    ),
    "search": (
        "clan-tf search photos/birds --dry-run",
        "clan-tf search my.yaml --space full --algorithm hyperband --hours 8",
    ),
    "reproduce": (
        "clan-tf reproduce table5",
        "clan-tf reproduce table2 --seeds 0,1,2 --set data.root=CUB_200_2011",
    ),
    "summary": (
        "clan-tf summary resnet50 --set data.classes=200",
        "clan-tf summary --set model.backbone=mobilenet_v2 --json",
    ),
    "data": ("clan-tf data check my.yaml",),
    "data check": (
        "clan-tf data check photos/birds",
        "clan-tf data check my.yaml --quarantine quarantine.txt",
    ),
    "data labels": (
        "clan-tf data labels photos/birds",
        "clan-tf data labels my.yaml --split all --output labels",
    ),
    "data pack": (
        "clan-tf data pack my.yaml --output packed",
        "clan-tf data pack my.yaml --output packed --lossless",
    ),
    "benchmark": (
        "clan-tf benchmark data",
        "clan-tf benchmark train --backbone mobilenet",
        "clan-tf benchmark runs/birds-001",
    ),
    "benchmark data": (
        "clan-tf benchmark data my.yaml --photos 2000",
        "clan-tf benchmark data --rounds 3 --json",
    ),
    "benchmark train": (
        "clan-tf benchmark train resnet50 --batch-size 4 --set data.classes=200",
        "clan-tf benchmark train --backbone mobilenet --rounds 3 --json",
    ),
    "benchmark inference": (
        "clan-tf benchmark inference photos/birds --exports",
        "clan-tf benchmark inference --backbone mobilenet --image-size 128 --json",
    ),
    "benchmark exports": (
        "clan-tf benchmark exports runs/birds-001 --samples 200",
        "clan-tf benchmark exports birds.tflite --run runs/birds-001",
    ),
    "list": ("clan-tf list backbones",),
    "list backbones": ("clan-tf list backbones", "clan-tf list backbones --json"),
    "list configs": ("clan-tf list configs", "clan-tf list configs --json"),
    "list presets": ("clan-tf list presets", "clan-tf list presets --json"),
    "list sources": ("clan-tf list sources", "clan-tf list sources --json"),
    "config": ("clan-tf config keys training",),
    "config show": (
        "clan-tf config show resnet50 --set data.root=CUB_200_2011 > my.yaml",
        "clan-tf config show my.yaml --json",
    ),
    "config keys": (
        "clan-tf config keys training.schedule",
        "clan-tf config keys --json",
    ),
}
"""By the words of a command."""


def examples_of(words: str) -> str:
    """Returns the examples of a command, one a line."""
    return "\n".join(EXAMPLES[words])
