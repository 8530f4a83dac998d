"""What a model looks at, against NumPy and finite differences."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from clan_tf.cli.main import app
from clan_tf.data.pipeline import View, evaluation_view
from clan_tf.errors import CheckFailed, UserError
from clan_tf.explain import Explainer, Explanation, drawing, explain_photos
from clan_tf.explain import explain as explain_module
from clan_tf.explain.drawing import Picture, attention_title
from clan_tf.explain.geometry import Window, seen_window, spread_over_photo
from clan_tf.layers import CrossLayerContextAttention, NonLocalBlock
from clan_tf.models import CLAN, Plain, save_model
from helpers.models import randomize_heads
from helpers.photos import write_photo

SIZE = 32
NAMES = ["ant", "bee", "cow"]
AT_TOP = {f"a_branch_with_a_long_name_{number}": ("top",) for number in range(5)}


def make(kind: type = CLAN, **settings: object) -> CLAN | Plain:
    """A tiny model whose heads, refinements and attentions all matter."""
    tf.keras.utils.set_random_seed(1)
    model = randomize_heads(kind("tiny", 3, image_size=SIZE, class_names=NAMES, **settings))
    for layer in getattr(model, "refinements", {}).values():
        layer.normalization.gamma.assign(np.full(layer.normalization.gamma.shape, 0.7))
    for layer in getattr(model, "attentions", {}).values():
        layer.convolution.kernel.assign(np.random.default_rng(2).normal(0, 0.4, layer.convolution.kernel.shape))
    return model


@pytest.fixture(scope="module")
def model() -> CLAN:
    """With heads that are linear in the maps: means without normalisation."""
    return make(scales=3, mid_pooling="avg", head_batch_norm=False)


@pytest.fixture(scope="module")
def explainer(model: CLAN) -> Explainer:
    return Explainer(model)


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype("uint8")


def features(model: CLAN, photos: np.ndarray, *names: str) -> list[np.ndarray]:
    answers = model.with_outputs(names)(photos.astype("float32"))
    return [np.array(answers[name], dtype="float64") for name in names]


def load(path: str | Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def windows(count: int) -> list[Window]:
    return [Window(0, 0, SIZE, SIZE)] * count


def test_gradcam_at_a_branchs_own_map_equals_the_dense_layers_weights_over_n(
    model: CLAN, explainer: Explainer, photos: np.ndarray
) -> None:
    """A head is linear after global average pooling, so the derivative by the map is its weight over n."""
    explanations = explainer(photos, windows(2))
    own_maps = {
        "mid_1": ["refined_mid_1"],
        "mid_2": ["refined_mid_2"],
        "top": ["backbone_top"],
        "refined_top": ["attended_mid_1", "attended_mid_2"],
    }
    for branch, names in own_maps.items():
        activations = np.concatenate(features(model, photos, *names), axis=-1)
        kernel = np.array(model.get_layer(f"logits_{branch}").kernel)
        positions = activations.shape[1] * activations.shape[2]
        for explanation, activation in zip(explanations, activations, strict=True):
            expected = np.maximum(activation @ kernel[:, explanation.label] / positions, 0)
            np.testing.assert_allclose(explanation.gradcam[branch, branch], expected, rtol=1e-4, atol=1e-7)


def test_gradcam_of_a_maximum_has_the_weight_of_a_mean(photos: np.ndarray) -> None:
    """The derivative by the largest position is the head's weight, by the others 0: on average the weight over n."""
    model = make()
    normalization = model.get_layer("batch_norm_mid_1")
    normalization.gamma.assign(np.linspace(0.5, 2, normalization.gamma.shape[0]))
    kernel = np.array(normalization.gamma)[:, None] * np.array(model.get_layer("logits_mid_1").kernel)
    (activations,) = features(model, photos, "refined_mid_1")
    for explanation, activation in zip(Explainer(model)(photos, windows(2)), activations, strict=True):
        expected = np.maximum(activation @ kernel[:, explanation.label] / activation[..., 0].size, 0)
        np.testing.assert_allclose(explanation.gradcam["mid_1", "mid_1"], expected, rtol=1e-4, atol=1e-7)


def test_gradcam_through_the_spatial_attention_equals_its_derivative(
    model: CLAN, explainer: Explainer, photos: np.ndarray
) -> None:
    """`attended_s = mean over 2^s cells of M_s, times top`: the derivative by `top` is known."""
    (top, first, second) = features(model, photos, "backbone_top", "attention_mid_1", "attention_mid_2")
    kernel = np.array(model.get_layer("logits_refined_top").kernel)
    channels, rows, columns = top.shape[-1], *top.shape[1:3]

    def shrunk(attention: np.ndarray) -> np.ndarray:
        factor = attention.shape[1] // rows
        return attention.reshape(2, rows, factor, columns, factor, 1).mean(axis=(2, 4))

    for index, explanation in enumerate(explainer(photos, windows(2), [2, 0])):
        weights = [kernel[:channels, explanation.label], kernel[channels:, explanation.label]]
        derivative = sum(
            shrunk(attention)[index] * weight for attention, weight in zip((first, second), weights, strict=True)
        ) / (rows * columns)
        expected = np.maximum((top[index] * derivative.mean(axis=(0, 1))).sum(axis=-1), 0)
        np.testing.assert_allclose(explanation.gradcam["refined_top", "top"], expected, rtol=1e-4, atol=1e-7)


def test_gradcam_through_the_context_attention_equals_finite_differences(
    model: CLAN, explainer: Explainer, photos: np.ndarray
) -> None:
    """The mean derivative over a channel's positions is that along the whole channel, divided by n."""
    (mid, top) = (value.astype("float32") for value in features(model, photos[:1], "backbone_mid_1", "backbone_top"))
    head, layer = model.get_layer("logits_mid_1"), model.refinements["mid_1"]
    explanation = explainer(photos, windows(2), [1, 1])[0]
    channels, positions, step = top.shape[-1], top.shape[1] * top.shape[2], 0.5
    shifts = np.concatenate([np.eye(channels), -np.eye(channels)]).astype("float32")[:, None, None] * step
    refined = np.array(layer(np.repeat(mid, 2 * channels, 0), top + shifts), dtype="float64")
    logits = refined.mean(axis=(1, 2)) @ np.array(head.kernel, dtype="float64")[:, 1]
    weights = (logits[:channels] - logits[channels:]) / (2 * step) / positions
    expected = np.maximum(top[0] @ weights, 0)
    assert expected.max() > 0
    np.testing.assert_allclose(explanation.gradcam["mid_1", "top"], expected, rtol=2e-2, atol=2e-3 * expected.max())


def test_every_branch_is_explained_at_every_stage_that_it_is_computed_from(photos: np.ndarray) -> None:
    def pairs(model: CLAN | Plain) -> set[tuple[str, str]]:
        (explanation,) = Explainer(model)(photos[:1], windows(1))
        return set(explanation.gradcam)

    own = {("mid_1", "mid_1"), ("top", "mid_1"), ("top", "top")}
    refined = {("refined_top", "mid_1"), ("refined_top", "top"), ("refined_top", "refined_top")}
    assert pairs(make()) == own | refined | {("mid_1", "top")}
    # Without context attention a mid-level branch doesn't see the top-level map.
    assert pairs(make(mid_refinement="non_local", spatial_attention=False)) == own
    assert pairs(make(mid_refinement="gap", spatial_attention=False)) == own
    assert pairs(make(Plain)) == {("top", "top")}


def test_the_predicted_class_is_explained_unless_another_is_named(
    model: CLAN, explainer: Explainer, photos: np.ndarray
) -> None:
    combined = np.array(model(photos)["combined"])
    for explanation, row in zip(explainer(photos, windows(2)), combined, strict=True):
        assert explanation.label == row.argmax()
        assert explanation.probability == pytest.approx(row.max(), abs=1e-6)
    assert explainer(photos, windows(2), [2, 1])[0].probability == pytest.approx(combined[0, 2], abs=1e-6)


@pytest.mark.parametrize("relation", ["dot_product", "embedded_gaussian", "gaussian"])
@pytest.mark.parametrize("kind", [CrossLayerContextAttention, NonLocalBlock])
def test_the_relation_of_a_position_is_its_row_of_the_equation(
    kind: type, relation: str, rng: np.random.Generator
) -> None:
    layer = kind(relation)
    mid, top = rng.normal(0, 0.5, (2, 4, 6, 8)).astype("float32"), rng.normal(0, 0.5, (2, 4, 6, 10)).astype("float32")
    maps = (mid, top) if kind is CrossLayerContextAttention else (mid,)
    layer(*maps)
    fused = mid
    if kind is CrossLayerContextAttention:
        fused = sum(
            x @ np.array(projection.kernel)[0, 0] + np.array(projection.bias)
            for x, projection in ((mid, layer.mid_projection), (top, layer.top_projection))
        )
    query = key = fused
    if relation != "gaussian":
        query, key = (
            x @ np.array(p.kernel)[0, 0] + np.array(p.bias) for x, p in ((fused, layer.theta), (fused, layer.phi))
        )
    scores = np.einsum("bc,bhwc->bhw", query[:, 3, 1], key)
    exponents = np.exp(scores)
    expected = scores / 24 if relation == "dot_product" else exponents / exponents.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(np.array(layer.weights_of(3, 1, *maps)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("view", "size"),
    [(View(40, 48, "stretch"), (120, 90)), (View(40, 48, "keep_aspect"), (120, 90)), (View(40, 40), (77, 131))],
)
def test_the_window_is_where_the_evaluated_pixels_come_from(view: View, size: tuple[int, int]) -> None:
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width]
    photo = np.stack([columns, rows, rows], axis=-1).astype("uint8")
    seen = evaluation_view(tf.constant(photo), view).numpy().astype(float)
    window = seen_window(height, width, view)
    centre = slice(view.image_size // 2 - 1, view.image_size // 2 + 1)
    assert seen[centre, centre, 0].mean() + 0.5 == pytest.approx(window.left + window.width / 2, abs=0.7)
    assert seen[centre, centre, 1].mean() + 0.5 == pytest.approx(window.top + window.height / 2, abs=0.7)
    cell = window.width / view.image_size
    assert seen[5, 3, 0] + 0.5 == pytest.approx(window.left + 3.5 * cell, abs=1)


def test_a_cell_lies_over_its_part_of_the_photo() -> None:
    window = Window(10, 20, 40, 60)
    heat = np.zeros((4, 6), "float32")
    heat[1, 4] = 1
    spread = spread_over_photo(heat, window, 64, 100)
    assert np.unravel_index(np.nanargmax(spread), spread.shape)[0] in range(20, 30)
    assert np.unravel_index(np.nanargmax(spread), spread.shape)[1] in range(60, 70)
    assert np.isnan(spread[:10]).all() and np.isnan(spread[:, :20]).all() and np.isnan(spread[50:]).all()
    assert window.cell_at(65, 25, 4, 6) == (1, 4)
    assert window.cell_at(19, 25, 4, 6) is None and window.cell_at(80, 25, 4, 6) is None


@pytest.mark.parametrize("size", [(1, 3000), (3000, 2)])
def test_very_narrow_photos_can_be_drawn(model: CLAN, explainer: Explainer, size: tuple[int, int]) -> None:
    photo = np.zeros((*size, 3), "uint8")
    for view in (View(SIZE, SIZE, "stretch"), View(SIZE, 37, "keep_aspect")):
        seen = evaluation_view(tf.constant(photo), view).numpy()
        (explanation,) = explainer(seen[None], [seen_window(*size, view)])
        picture = Picture.of(photo, explanation)
        assert picture.with_evidence(explanation.summary()).shape == picture.pixels.shape


def test_the_title_of_an_attention_says_what_dark_and_bright_are() -> None:
    open_map = np.array([[0.62, 0.7], [0.8, 0.85]])
    assert attention_title("mid_1", open_map) == "CLSA of mid_1\n0.62 (dark) to 0.85 (bright)"
    # Rounded to two digits after the point this map would be from 0.00 to 0.02, and drawn as bright as the other.
    shut_map = np.array([[0.00012, 0.019]])
    assert attention_title("mid_2", shut_map) == "CLSA of mid_2, nearly shut\n0.00012 (dark) to 0.019 (bright)"


@pytest.mark.parametrize("size", [(60, 60), (50, 90), (90, 50)])
@pytest.mark.parametrize("maps", ["all", "one", "one branch", "one stage", "no attention"])
def test_titles_stand_over_nothing_else(
    maps: str, explainer: Explainer, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(drawing, "save_figure", lambda figure, path: figures.append(figure))
    view = View(SIZE, SIZE, "stretch")
    photo = np.zeros((*size, 3), "uint8")
    window = seen_window(*size, view)
    (explanation,) = explainer(evaluation_view(tf.constant(photo), view).numpy()[None], [window])
    cams = explanation.gradcam
    kept = {
        "all": cams,
        "no attention": cams,
        "one": {("top", "top"): cams["top", "top"]},
        "one branch": {key: cam for key, cam in cams.items() if key[0] == "refined_top"},
        "one stage": {(name, "top"): cams["top", "top"] for name in AT_TOP},
    }
    explanation = replace(explanation, gradcam=kept[maps], stages={} if maps != "one stage" else AT_TOP)
    if maps in ("one", "no attention"):
        explanation = replace(explanation, attention={})
    picture = Picture.of(photo, explanation)
    heading = "a_photo_with_a_long_name_of_forty_letters.jpg: evidence for 001.A_class_with_a_long_name (52.1 %)"
    drawing.draw_sheet(picture, heading, None, tmp_path / "sheet.png")
    captions = ["a_name_of_a_file.jpg\n001.A_class 52 %"]
    drawing.draw_contact_sheet([picture] * 6, captions * 6, tmp_path / "all.png")
    drawing.draw_contact_sheet([picture] * 2, captions * 2, tmp_path / "two.png")
    assert len(figures) == 3
    for figure in figures:
        FigureCanvasAgg(figure).draw()
        shown = [axes for axes in figure.axes if axes.images]
        assert any(axes.get_title() for axes in shown)
        images = [axes.get_window_extent() for axes in shown]
        titles = [axes.title.get_window_extent() for axes in shown]
        texts = [text.get_window_extent() for text in figure.texts if text.get_text()]  # the heading and the legend
        assert any("grey is" in text.get_text() for text in figure.texts)
        assert not [text for text in titles + texts for image in images if text.overlaps(image)]
        assert not [text for text in texts for title in titles if text.overlaps(title)]
        assert not [one for index, one in enumerate(titles) for other in titles[:index] if one.overlaps(other)]


@pytest.fixture(scope="module")
def saved(model: CLAN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explained") / "model.keras"
    save_model(model, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos, one of them turned by its EXIF orientation, and a broken one."""
    write_photo(tmp_path / "photos" / "a.png", (200, 60, 60), size=(64, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(tmp_path / "photos" / "a.png") as turned:
        turned.save(tmp_path / "photos" / "b.jpg", exif=exif, quality=100)
    (tmp_path / "photos" / "c.jpg").write_text("no photo", encoding="utf-8")
    return tmp_path / "photos"


def test_a_folder_gets_pictures_arrays_and_a_contact_sheet(saved: Path, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "explained"
    done = CliRunner().invoke(
        app, ["explain", str(saved), str(folder), "--output", str(output), "--at", "30,20", "--json"]
    )
    assert done.exit_code == 1
    first, second, third = json.loads(done.stdout)
    assert third == {"path": str(folder / "c.jpg"), "error": "not an image"}
    assert {path.name for path in output.iterdir()} == {"a.png", "a.npz", "b.png", "b.npz", "contact_sheet.png"}
    arrays, turned = load(first["arrays"]), load(second["arrays"])
    assert {
        "gradcam.top.top",
        "attention.mid_1",
        "attention.mid_2",
        "relation.mid_1",
        "relation.mid_2",
        "window",
    } <= set(arrays)
    assert arrays["relation.mid_1"].shape == arrays["attention.mid_1"].shape == (8, 8)
    np.testing.assert_allclose(arrays["window"], [0, 0, 48, 64])
    # The turned photo is upright: 48 wide and 64 high.
    np.testing.assert_allclose(turned["window"], [0, 0, 64, 48])
    with Image.open(output / "contact_sheet.png") as sheet:
        assert sheet.width > 300


def test_what_was_skipped_is_named_and_counted(saved: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "b.jpg").unlink()
    done = CliRunner().invoke(app, ["explain", str(saved), str(folder), "--output", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "skipped: not an image" in done.stdout
    assert "1 photo explained, 1 skipped" in done.stdout


def test_nothing_is_left_behind_if_no_photo_can_be_explained(saved: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="None of 1 photo could.*\n.*c.jpg: not an image"):
        explain_photos(str(saved), [str(folder / "c.jpg")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pixel_that_the_model_sees_in_no_photo_is_one_mistake(saved: Path, folder: Path, tmp_path: Path) -> None:
    where = "a.png: --at 64,1 is outside .* 64 x 48 pixels: columns 0 to 63, rows 0 to 47"
    with pytest.raises(UserError, match=f"{where}. Give a pixel"):
        explain_photos(str(saved), [str(folder / "a.png")], tmp_path / "out", at=(64, 1))
    # One of the three files is broken; of the turned photo another pixel is the last.
    with pytest.raises(UserError, match=f"{where}, and so of 1 other photo. Give a pixel"):
        explain_photos(str(saved), [str(folder)], tmp_path / "out", at=(64, 1))
    assert not (tmp_path / "out").exists()
    results = explain_photos(str(saved), [str(folder)], tmp_path / "out", at=(60, 1))
    assert ["error" in result for result in results] == [False, True, True]


def test_contact_sheets_are_written_when_they_are_full(
    saved: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_module, "SHEET_PHOTOS", 2)
    sheets = []

    def drawn(pictures: list[Picture], captions: list[str], path: Path) -> None:
        written = len([each for each in path.parent.iterdir() if each.suffix == ".npz"])
        sheets.append((path.name, len(pictures), captions[0].splitlines()[0], written))

    monkeypatch.setattr(explain_module, "draw_contact_sheet", drawn)
    monkeypatch.setattr(explain_module, "draw_sheet", lambda *how: None)
    (folder / "c.jpg").unlink()
    photos = [str(folder / "a.png"), str(folder / "b.jpg")]
    explain_photos(str(saved), photos, tmp_path / "two")
    assert sheets == [("contact_sheet.png", 2, "a.png", 2)]
    for name in "cde":
        write_photo(folder / f"{name}.png", (10, 20, 30), size=(40, 40))
    sheets.clear()
    explain_photos(str(saved), [str(folder)], tmp_path / "five")
    # The first sheet is drawn before the fourth photo's maps are written.
    assert sheets == [
        ("contact_sheet_001.png", 2, "a.png", 3),
        ("contact_sheet_002.png", 2, "c.png", 5),
        ("contact_sheet_003.png", 1, "e.png", 5),
    ]


def test_a_map_that_is_almost_nothing_is_not_drawn_as_the_brightest(tmp_path: Path) -> None:
    """The largest value counts beside those of the same branch, not of others."""
    spot = np.zeros((4, 4), "float32")
    spot[1, 1] = 1
    gradcam = {("a", "top"): spot, ("a", "mid"): 0.01 * spot, ("b", "mid"): 0.01 * spot, ("b", "top"): 0 * spot}
    explanation = Explanation(0, 0.5, gradcam, {}, Window(0, 0, SIZE, SIZE), {"a": ("mid",), "b": ("mid",)})
    picture = Picture.of(np.full((SIZE, SIZE, 3), 128, "uint8"), explanation)
    titles = [cell[0] for row in drawing._gradcam_rows(picture) for cell in row]
    assert titles == [
        "Grad-CAM of branch a\nat top: up to 1",
        "Grad-CAM of branch a\nat mid: hardly any evidence, up to 0.01",
        "Grad-CAM of branch b\nat top: no evidence",
        "Grad-CAM of branch b\nat mid: up to 0.01",
    ]
    drawn = [cell[1].astype(int) for row in drawing._gradcam_rows(picture) for cell in row]
    colours = [np.ptp(image, axis=-1).max() for image in drawn]
    assert colours[0] > 100 and colours[3] > 100 and colours[1] < 5 and colours[2] == 0
    # The contact sheet's map is the mean over both branches: half of b's spot, almost nothing of a's.
    assert explanation.summary().max() == pytest.approx((1 + 0.01) / 2, rel=0.1)


def test_a_model_without_attention_gives_what_it_has(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.keras"
    save_model(make(Plain), path)
    done = CliRunner().invoke(app, ["explain", str(path), str(folder / "a.png"), "--output", str(tmp_path / "out")])
    assert done.exit_code == 0
    assert "no attention maps" in done.stderr and "--at isn't possible" in done.stderr
    assert set(load(tmp_path / "out" / "a.npz")) == {"gradcam.top.top", "window"}
    with pytest.raises(UserError, match="--at: this model .* relates no positions"):
        explain_photos(str(path), [str(folder / "a.png")], tmp_path / "again", at=(1, 1))


def test_a_position_that_the_model_does_not_see_has_no_relations(explainer: Explainer, photos: np.ndarray) -> None:
    with pytest.raises(ValueError, match="in the part that the model sees.*Received: 32, 0"):
        explainer.relations_at(photos[0], *windows(1), 32, 0)


def test_mistakes_are_named(saved: Path, folder: Path, tmp_path: Path) -> None:
    photo = str(folder / "a.png")
    with pytest.raises(UserError, match="--branches: no branch 'tpo'. Did you mean top"):
        explain_photos(str(saved), [photo], tmp_path / "out", branches=["tpo"])
    with pytest.raises(UserError, match="--label: this model has no class 'bea'. Did you mean bee"):
        explain_photos(str(saved), [photo], tmp_path / "out", label="bea")
    with pytest.raises(UserError, match="exists"):
        explain_photos(str(saved), [photo], folder)
    result = CliRunner().invoke(app, ["explain", str(saved), photo, "--output", str(tmp_path / "out"), "--at", "1;2"])
    assert isinstance(result.exception, UserError) and "--at: must be X,Y" in str(result.exception)
    assert not (tmp_path / "out").exists()
