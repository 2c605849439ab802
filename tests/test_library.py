"""Models for images of one's own: every size and channel, one road with the rows, files that come back, and one line
for whatever does not fit."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from own_images import GREY, Mine
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

import cqlib
from cqlib.data.grids import tiles
from cqlib.metrics import fidelity
from cqlib.metrics.features import extract, lite0
from cqlib.models.registry import build
from cqlib.nets.coupling import FlowConfig
from cqlib.suite.experiments.experiment import experiment
from cqlib.suite.experiments.library import MODELS, SIDES
from cqlib.suite.experiments.measures import uint8_images
from cqlib.training.loop import train
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint
from cqlib.util.errors import UserError

ROOT = Path(cqlib.__file__).parent.parent
COLOUR = torch.from_numpy(np.random.default_rng(1).integers(256, size=(12, 3, 16, 16), dtype=np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_sides_of_every_kind_have_their_nets_in_grey_and_in_colour(name, monkeypatch):
    """On the device `meta`, where shapes are computed and nothing else."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # which does not know this device
    for side in (8, 12, 20, 28, 44, 100, 128):
        assert side in SIDES
        channels = 3 if side % 8 else 1
        with torch.device("meta"):
            model = getattr(cqlib, name)(size=side, channels=channels)
            x = torch.zeros(2, channels, side, side, dtype=torch.uint8)
            assert model.generator_losses(x)["total"].shape == ()
            assert model.sample(2).shape == x.shape
            assert model.critic is None or model.critic(x.float()).shape == (2,)
    assert (model.critic is None) == (name in ("VAE", "VAEF"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_that_of_its_row(name):
    """With the same nets and as many parameters; CQ-F and CQ, and VAE-F and VAE, are equally large at any size."""
    model = getattr(cqlib, name)(size=16)
    row = build(experiment(model.row).recipe.system)
    assert isinstance(model, type(row)) and model.parameter_counts() == row.parameter_counts()
    assert model.state_dict().keys() == row.state_dict().keys()
    if name != "GAN":
        totals = [MODELS[f](28, 1).parameter_counts()["total"] for f in ("VAE", name)]
        assert totals[0] == pytest.approx(totals[1], rel=0.02)


def test_lambda_weighs_a_value_as_it_does_in_the_rows():
    of_row = experiment("table1/cq-f", data="photos10").recipe.system
    assert cqlib.CQF(16).config.quality_weight == of_row.quality_weight
    assert cqlib.CQ(32, 1).config.quality_weight == pytest.approx(25 * 4 / 3)
    assert cqlib.CQ(32, 1, quality_weight=7.0, latent=5).config.quality_weight == 7
    assert cqlib.CQ(32, 1, latent=5).encoder.head.out_features == 10


def test_fit_is_the_training_of_the_rows(tmp_path):
    """From the present weights on; the result has the averaged ones."""
    torch.manual_seed(0)
    model, other = cqlib.CQF(16), build(cqlib.CQF(16).config)
    other.load_state_dict(model.state_dict())
    config = experiment("table1/cq-f", data="photodigits").recipe.training
    config = type(config)(**{**vars(config), "steps": 3, "batch_size": 4})
    trained = train(other, COLOUR, config, seed=5, folder=tmp_path).system
    assert model.fit(COLOUR, steps=3, batch_size=4, seed=5, device="cpu", progress=False) is model
    assert not model.training
    for (name, value), of_row in zip(model.state_dict().items(), trained.state_dict().values(), strict=True):
        assert torch.equal(value, of_row), name


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_comes_back(tmp_path, name):
    model = getattr(cqlib, name)(8, 1, latent=5)
    assert model.save(tmp_path / "mine") == tmp_path / "mine" / "model.safetensors"
    state = torch.get_rng_state()
    found = cqlib.load(tmp_path / "mine")
    assert torch.equal(torch.get_rng_state(), state)
    assert type(found) is type(model) and found.config == model.config and not found.training
    for a, b in zip(model.state_dict().values(), found.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_model_saved_before_f_mixed_colours_comes_back_as_it_was(tmp_path):
    """Its file says nothing of colours, and its f left them apart."""
    model = cqlib.CQF(8, flow=FlowConfig(colours="apart"))
    file = model.save(tmp_path)
    state = load_checkpoint(file)
    del state["config"]["flow"]["colours"]
    save_checkpoint(file, state)
    again, x = cqlib.load(tmp_path), torch.rand(2, 3, 8, 8)
    assert again.config == model.config and torch.equal(again.flow(x)[0], model.eval().flow(x)[0])
    assert not torch.equal(again.flow(x)[0], cqlib.CQF(8).eval().flow(x)[0])


def test_nets_of_ones_own(tmp_path):
    model = Mine(8, 1).fit(GREY, steps=2, batch_size=4, progress=False)
    model.save(tmp_path)
    assert torch.equal(Mine.load(tmp_path).decoder[0].weight, model.decoder[0].weight)
    with pytest.raises(UserError, match=r"is of your class Mine: call Mine\.load"):
        cqlib.load(str(tmp_path))
    with pytest.raises(UserError, match=r"is a Mine, not a VAE"):
        cqlib.VAE.load(tmp_path)
    other = cqlib.VAE(8, 1)
    other.decoder = model.decoder
    other.save(tmp_path)
    with pytest.raises(UserError, match="if its nets are your own, make them in a subclass of VAE and call its load"):
        cqlib.load(tmp_path)


def test_a_folder_without_a_model(tmp_path):
    for why in ("does not exist", "cannot be read"):
        with pytest.raises(UserError, match=rf"model\.safetensors {why}: a run, or model\.save\(folder\), writes it"):
            cqlib.load(str(tmp_path))
        (tmp_path / "model.safetensors").write_bytes(b"no")
    for nowhere in ("nope", Path("nope")):
        with pytest.raises(UserError, match="^there is no folder .*/nope; unknown row 'nope'"):
            cqlib.load(nowhere)
    with pytest.raises(UserError, match="is a folder: leave out profile"):
        cqlib.load(str(tmp_path), profile="quick")
    (tmp_path / "record.json").touch()
    with pytest.raises(ValueError, match="is the folder of a training: save the model to another folder"):
        cqlib.VAE(8).save(tmp_path)


class Pictures(Dataset):
    """PIL images with labels, as torchvision's data sets give them."""

    def __len__(self):
        return len(GREY)

    def __getitem__(self, i):
        return Image.fromarray(GREY[i]), 3


@pytest.mark.parametrize(("images", "expected"), [
    (GREY, torch.from_numpy(GREY)[:, None]),
    (torch.from_numpy(GREY), torch.from_numpy(GREY)[:, None]),
    (Pictures(), torch.from_numpy(GREY)[:, None]),
    (GREY[..., None], torch.from_numpy(GREY)[:, None]),
    (COLOUR, COLOUR),
    (COLOUR.numpy().transpose(0, 2, 3, 1)[::-1], COLOUR.flip(0)),
    (TensorDataset(COLOUR, torch.zeros(12)), COLOUR),
    (list(COLOUR.permute(0, 2, 3, 1)), COLOUR),
    (COLOUR / 127.5 - 1, COLOUR),  # as torchvision's ToTensor and Normalize(0.5, 0.5) make them
    ((COLOUR.numpy() + 0.5) / 128 - 1, COLOUR),
])  # fmt: skip
def test_images_are_taken_as_they_come(images, expected):
    for shape in (None, tuple(expected.shape[1:])):
        found = uint8_images(images, shape)
        assert found.dtype == torch.uint8 and found.is_contiguous() and torch.equal(found, expected)


ONE_SHAPE = r"images are \(N, 3, 16, 16\), not "


@pytest.mark.parametrize(("images", "error", "line"), [
    (GREY, ValueError, ONE_SHAPE + r"\(12, 1, 8, 8\)"),
    (COLOUR[:0], ValueError, "there are no images"),
    ([], ValueError, "there are no images"),
    (COLOUR / 255, ValueError, r"not floats from 0 to 1: of floats in \[0, 1\] pass \(255 \* images\)\.round\(\)"),
    (COLOUR / 2 - 60, ValueError, "not floats from -60 to 67.5"),
    (COLOUR * torch.tensor([torch.nan] + 11 * [0])[:, None, None, None], ValueError, "1 of 12 images have NaN"),
    (COLOUR.long(), ValueError, "not int64: pass values 0 to 255 as uint8"),
    ([COLOUR[0], COLOUR[0, :, 1:]], ValueError, "differ in shape"),
    (["a.png"], ValueError, "arrays of numbers"),
    ("pictures", TypeError, 'not str; .* of files cqlib.data.load'),
])  # fmt: skip
def test_what_does_not_fit_is_told_in_one_line(images, error, line):
    model = cqlib.VAE(16)
    for use in (model.fit, lambda images: cqlib.bits_per_dimension(model, images)):
        with pytest.raises(error, match=line) as caught:
            use(images)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("make", "error", "line"), [
    (lambda: cqlib.CQF(30), ValueError, "multiple of 4 from 8 to 128, not 30: resize the images to 28"),
    (lambda: cqlib.CQF("28"), ValueError, "size is a whole number of pixels, not '28'"),
    (lambda: cqlib.CQF(28, 4), ValueError, r"channels is 1 \(grey\) or 3 \(colour\), not 4"),
    (lambda: cqlib.CQF(28, lam=4), TypeError, "unknown setting 'lam': did you mean 'quality_weight'"),
    (lambda: cqlib.CQF(28, lr=4), TypeError, "'lr': 'learning_rate' is a setting of fit"),
    (lambda: cqlib.VAE(8, 1).fit(GREY, lr=4), TypeError, "unknown setting 'lr': did you mean 'learning_rate'"),
    (lambda: cqlib.VAE(8, 1).fit(GREY, precision="tf32", device="cpu"), UserError, "tf32 needs an NVIDIA GPU"),
    (lambda: cqlib.CQ(8, 1).fit(GREY, lam=4), TypeError, "'quality_weight' is a setting of the model, when it is made"),
    (lambda: cqlib.CQF(8, True), ValueError, r"channels is 1 \(grey\) or 3 \(colour\), not True"),
    (lambda: cqlib.CQF(28, flow=FlowConfig(scales=3)), ValueError, "3 scales .* multiple of 8, not 28: take .* 2 or"),
    (lambda: cqlib.VAE(8, 1).fit(GREY, seed=True), ValueError, "seed is a whole number from 0 on, not True"),
    (lambda: cqlib.VAE(8, 1).fit(GREY, stps=4), TypeError, "stps"),
    (lambda: cqlib.CQF(28, latent=2.5), ValueError, "latent' cannot be 2.5: .*valid integer"),
    (lambda: cqlib.GAN(28, critic=None), ValueError, "critic' cannot be None: "),
    (lambda: cqlib.VAE(8, 1).fit(GREY, steps=-1), ValueError, "steps' cannot be -1: .*greater than 0"),
    (lambda: cqlib.VAE(8, 1).fit(GREY, learning_rate=np.nan), ValueError, "learning_rate' cannot be nan: .*finite"),
    (lambda: cqlib.VAE(8, 1).fit(GREY, seed=-1), ValueError, "seed is a whole number from 0 on, not -1"),
    (lambda: cqlib.VAE(8, 1).fit(GREY, device="gpu"), UserError, "device gpu is not available"),
    (lambda: cqlib.bits_per_dimension(cqlib.VAE(8, 1), DataLoader(GREY)), TypeError, "DataLoader pass its dataset"),
    (lambda: cqlib.bits_per_dimension(cqlib.GAN(8, 1), GREY), TypeError, "a GAN has no likelihood"),
    (lambda: cqlib.scores(GREY, COLOUR), ValueError, r"\(12, 1, 8, 8\) and images \(12, 3, 16, 16\) differ in shape"),
    (lambda: cqlib.scores(GREY[:5], GREY), ValueError, "at least 6 samples"),
    (lambda: cqlib.run("table1/vae", data=COLOUR), UserError, r"a model of cqlib\.CQF\(…\) takes images themselves"),
])  # fmt: skip
def test_wrong_settings_are_told_in_one_line(make, error, line):
    with pytest.raises(error, match=line):
        make()


def test_numbers_of_numpy_and_torch_are_taken_as_pythons_own(tmp_path):
    """As they come out of a loop over `np.arange` or a sweep's table."""
    torch.manual_seed(0)
    plain = cqlib.VAE(8, 1, latent=5, widths=(4, 8), sigma_floor=0.5)
    options = {"batch_size": 2, "progress": False, "device": "cpu"}
    plain.fit(GREY, steps=2, seed=1, learning_rate=0.5, **options)
    for whole, real in ((np.int64, np.float32), (torch.tensor, torch.tensor)):
        torch.manual_seed(0)
        model = cqlib.VAE(whole(8), whole(1), latent=whole(5), widths=(whole(4), whole(8)), sigma_floor=real(0.5))
        model.fit(GREY, steps=whole(2), seed=whole(1), learning_rate=real(0.5), **options, folder=tmp_path / str(real))
        model.save(tmp_path / f"saved {real}")
        for name, value in cqlib.load(tmp_path / f"saved {real}").state_dict().items():
            assert torch.equal(value, plain.state_dict()[name])
        assert model.config == plain.config
    assert experiment("table1/vae", seed=np.int64(1)) == experiment("table1/vae", seed=1)


def test_bits_fall_with_training():
    torch.manual_seed(0)
    dark = np.minimum(GREY, 9)
    model = cqlib.VAEF(8, 1)
    before = cqlib.bits_per_dimension(model, dark)
    model.fit(dark, steps=60, progress=False)
    after = cqlib.bits_per_dimension(model, dark)
    assert after < before - 1 and cqlib.bits_per_dimension(model, dark, importance_samples=20) < after


def test_scores_are_those_of_the_rows_and_grey_is_grey_in_colour():
    fake, real = COLOUR.flip(0)[:, :1], torch.from_numpy(GREY)[:, None].repeat(1, 1, 2, 2)
    found = cqlib.scores(fake, real.numpy(), side=32)
    features = lite0(32)
    pooled = [extract(x.repeat(1, 3, 1, 1), features, features.pooled)[features.pooled] for x in (fake, real)]
    expected = fidelity.pooled_scores(*pooled, ["fid", "kid", "coverage"], features=features)
    assert found.keys() == {*expected, "IS-lite0"} and found["IS-lite0"] >= 1
    assert {name: found[name] for name in expected} == {name: metric.value for name, metric in expected.items()}


def test_a_grid_has_every_pixel(tmp_path):
    for images in (COLOUR, COLOUR / 127.5 - 1):
        file = cqlib.save_grid(images, tmp_path / "new" / "grid.png", columns=4, scale=1)
        assert torch.equal(tiles(np.asarray(Image.open(file)), 16), COLOUR)
    assert Image.open(cqlib.save_grid(GREY, str(file))).size == (8 * 9 * 16 + 16, 2 * 9 * 16 + 16)


@pytest.mark.parametrize(("images", "options", "line"), [
    (COLOUR / 2 - 60, {}, "images are uint8, or floats in"),
    (COLOUR, {"file": "grid.jpg"}, r"PNG, .*: name the file grid\.png"),
    (COLOUR, {"columns": 0}, "columns is 1 or more, not 0"),
])  # fmt: skip
def test_what_is_no_grid_is_told_in_one_line(tmp_path, images, options, line):
    file = tmp_path / options.get("file", "grid.png")
    with pytest.raises(ValueError, match=line):
        cqlib.save_grid(images, file, columns=options.get("columns", 8))
    assert not list(tmp_path.iterdir())


MISTAKES = """
import cqlib
cqlib.load("table1/cq-f").ft(None)
cqlib.load("table1/gan").encode(None)
cqlib.CQF(28).fit(None, callback=3)
cqlib.VAE.load("mine").sample("64")
reveal_type(cqlib.load("table1/vae-f", seed=1))
reveal_type(cqlib.load("mine"))
"""


@pytest.mark.slow
def test_the_page_on_the_library_has_no_error_of_types_and_mistakes_have(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
    (tmp_path / "page.py").write_text("\n".join(blocks))
    (tmp_path / "mistakes.py").write_text(MISTAKES)
    command = [sys.executable, "-m", "mypy", str(tmp_path / "page.py"), str(tmp_path / "mistakes.py")]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert len(blocks) == 7 and "page.py" not in found
    lines = {int(line) for line in re.findall(r"mistakes\.py:(\d+): error", found)}
    assert "cqlib.suite.experiments.library.VAEF" in found and '"Any"' in found and lines == {3, 4, 5, 6}


WITHOUT_POSIX = """
import os, sys
import psutil  # whose own Linux part imports resource
for name in ("resource", "fcntl", "pwd", "grp", "termios", "posix_ipc"):
    sys.modules[name] = None
del os.O_DIRECTORY
import torch, cqlib
from cqlib.util import provenance
images = torch.randint(256, (16, 3, 16, 16), dtype=torch.uint8)
model = cqlib.load("table1/vae-f").fit(images, steps=2, batch_size=4, progress=False, device="cpu")
model.save("mine")
assert cqlib.load("mine").sample(2).shape == (2, 3, 16, 16)
provenance.Path = lambda path: type("Missing", (), {"read_text": lambda self: (_ for _ in ()).throw(OSError())})()
assert provenance.peak_memory_bytes(torch.device("cpu")) > 10**7
"""


@pytest.mark.slow
def test_models_are_loaded_trained_and_saved_without_posix_modules(tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], cwd=tmp_path, capture_output=True, text=True,
                          env={"PYTHONPATH": str(ROOT), "CQLIB_RUNS": str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stderr
