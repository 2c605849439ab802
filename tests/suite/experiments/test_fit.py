"""What `fit` tells and keeps along the way, and images that come as batches."""

import os
import signal
import warnings

import numpy as np
import pytest
import torch
from own_images import GREY, OPTIONS, equal, equal_weights, made
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import cqlib
from cqlib.suite.experiments import fit_watch
from cqlib.suite.experiments.measures import Stream
from cqlib.training.batches import StreamBatches
from cqlib.util.checkpoint import load_checkpoint
from cqlib.util.errors import Notice, UserError

ALL = torch.from_numpy(GREY)[:, None]


def test_the_history_has_each_loss_and_the_bits():
    assert made().history == []
    model = made(cqlib.CQF).fit(GREY, **OPTIONS | {"log_every": 2})
    assert [line["step"] for line in model.history] == [2, 4, 6]
    for line in model.history:
        assert line["bits"] == pytest.approx(line["coverage"] / (64 * np.log(2)), abs=1e-4)
        assert line.keys() >= {"seconds", "skipped", "kl", "quality", "total", "critic/discriminator"}
    assert "bits" not in made(cqlib.GAN).fit(GREY, **OPTIONS).history[0]


def test_a_resumed_training_has_the_whole_history(tmp_path):
    model = made().fit(GREY, **OPTIONS | {"steps": 3}, decay_from=1.0, folder=tmp_path)
    model.fit(GREY, **OPTIONS, decay_from=1.0, folder=tmp_path)
    whole = made().fit(GREY, **OPTIONS, decay_from=1.0)
    assert [line["total"] for line in model.history] == [line["total"] for line in whole.history]


def test_the_callback_sees_the_averaged_model_and_changes_nothing():
    whole, seen = made().fit(GREY, **OPTIONS), []

    def look(step, model, losses):
        assert type(model) is cqlib.VAE and not model.training
        torch.randn(3), model.sample(2)
        seen.append((step, losses, {name: value.clone() for name, value in model.state_dict().items()}))

    model = made().fit(GREY, **OPTIONS | {"log_every": 2}, callback=look)
    assert equal(model, whole) and [step for step, *_ in seen] == [2, 4, 6]
    assert equal_weights(seen[-1][2], model)
    assert [losses["bits"] for _, losses, _ in seen] == [line["bits"] for line in model.history]
    short = made().fit(GREY, **OPTIONS | {"steps": 2}, decay_from=1.0)
    assert equal_weights(seen[0][2], short)


def test_held_out_bits_are_those_of_the_averaged_weights_and_change_nothing(monkeypatch):
    model = made().fit(GREY, **OPTIONS, validation=GREY[:5])
    assert equal(model, made().fit(GREY, **OPTIONS))
    assert model.history[-1]["validation_bits"] == pytest.approx(cqlib.bits_per_dimension(model, GREY[:5]), abs=1e-4)
    monkeypatch.setattr(fit_watch, "VALIDATIONS", 2)
    model = made().fit(GREY, **OPTIONS | {"steps": 7}, validation=GREY[:5])
    assert [line["step"] for line in model.history if "validation_bits" in line] == [3, 6, 7]


def over_fitted(model=None, **options):
    """A model that learns dark images, and whose bits of light ones therefore rise."""
    return (model or made()).fit(
        GREY // 32, **OPTIONS | {"steps": 60, "log_every": 5}, validation=255 - GREY // 32, **options
    )


def test_the_best_weights_are_kept_on_request(tmp_path):
    last, best = over_fitted(), over_fitted(keep_best=True, folder=tmp_path)
    held_out = [line["validation_bits"] for line in best.history]
    assert held_out == [line["validation_bits"] for line in last.history] and min(held_out) < held_out[-1]
    assert cqlib.bits_per_dimension(best, 255 - GREY // 32) == pytest.approx(min(held_out), abs=1e-4)
    assert equal(cqlib.load(tmp_path), best)
    for model in (made(), best):  # ended: it is read
        again = over_fitted(model, keep_best=True, folder=tmp_path)
        assert equal(again, cqlib.load(tmp_path)) and again.history == best.history
    assert equal(over_fitted(folder=tmp_path), last)


def test_ctrl_c_keeps_the_averaged_weights_and_the_same_call_goes_on(tmp_path):
    seen = {}

    def press(step, model, losses):
        if step == 3:
            seen.update({name: value.clone() for name, value in model.state_dict().items()})
            os.kill(os.getpid(), signal.SIGINT)

    model, before = made(), signal.getsignal(signal.SIGINT)
    with pytest.warns(Notice, match=rf"stopped at step 3 of 6: the model has its averaged .* goes on in {tmp_path}"):
        assert model.fit(GREY, **OPTIONS, folder=tmp_path, callback=press) is model
    assert not model.training and equal_weights(seen, model)
    assert len(model.history) == 3 and signal.getsignal(signal.SIGINT) is before
    assert equal(model.fit(GREY, **OPTIONS, folder=tmp_path), made().fit(GREY, **OPTIONS))
    with pytest.warns(Notice, match="stopped at step 3 of 6: the model has its averaged weights up to step 3$"):
        made().fit(GREY, **OPTIONS, callback=press)


@pytest.mark.parametrize("at", [2, 6])
def test_a_callback_that_fails_costs_no_step(tmp_path, at):
    def fail(step, model, losses):
        if step == at:
            raise OSError("no space")

    model = made()
    with pytest.raises(OSError, match="no space") as caught:
        model.fit(GREY, **OPTIONS, folder=tmp_path, callback=fail)
    assert f"up to step {at}" in caught.value.__notes__[0] and len(model.history) == at and not model.training
    assert equal(model.fit(GREY, **OPTIONS, folder=tmp_path), made().fit(GREY, **OPTIONS))


def test_sigterm_ends_with_the_state_saved(tmp_path):
    with pytest.raises(UserError, match="SIGTERM; the state is saved; the model has its averaged weights up to step 2"):
        made().fit(GREY, **OPTIONS, folder=tmp_path,
                   callback=lambda step, *_: step == 2 and os.kill(os.getpid(), signal.SIGTERM))  # fmt: skip
    assert load_checkpoint(tmp_path / "training.checkpoint")["step"] == 2


# --- images that come as batches -----------------------------------------------------------------------------


def test_every_image_of_a_stream_comes_once_a_pass():
    """Whatever the sizes of the batches that it gives and that are asked for."""
    batches = StreamBatches([ALL[:5], ALL[5:6], ALL[6:]], flips=False, device=torch.device("cpu"))
    found = torch.cat([batches.next(size)[0] for size in (3, 7, 8, 6)])
    assert torch.equal(found, torch.cat([ALL, ALL])) and batches.drawn == 24


def test_a_stream_is_mirrored_as_a_tensor_is():
    torch.manual_seed(0)
    batches = StreamBatches([ALL[:1]], flips=True, device=torch.device("cpu"))
    x = batches.next(400)[0]
    mirrored = (x == ALL[:1].flip(3)).flatten(1).all(1)
    assert torch.equal(x[~mirrored], ALL[:1].expand(int((~mirrored).sum()), -1, -1, -1))
    assert 150 < int(mirrored.sum()) < 250


@pytest.mark.parametrize("batches", [
    DataLoader(TensorDataset(ALL, torch.zeros(12)), batch_size=5),
    DataLoader(ALL / 127.5 - 1, batch_size=5),
    DataLoader(GREY, batch_size=1),
])  # fmt: skip
def test_a_loader_trains_as_its_images_in_its_order_do(batches):
    """Whatever the sizes of its batches are."""
    model = made().fit(batches, **OPTIONS)
    assert equal(model, made().fit(DataLoader(ALL, batch_size=12), **OPTIONS)) and not equal(model, made())


def test_floats_of_a_later_light_batch_are_those_of_the_first():
    dark, light = ALL / 127.5 - 1, torch.full((2, 1, 8, 8), 0.5)
    _, second = Stream(DataLoader(torch.cat([dark, light]), batch_size=12), (1, 8, 8))
    assert torch.equal(second, torch.full((2, 1, 8, 8), 192, dtype=torch.uint8))


def test_a_training_on_a_stream_resumes_at_its_step(tmp_path):
    loader = DataLoader(ALL, batch_size=4)

    def stop(step, *_):
        if step == 4:
            raise KeyboardInterrupt

    model = made()
    with pytest.warns(Notice, match="stopped at step 4 of 6"):
        model.fit(loader, **OPTIONS, folder=tmp_path, callback=stop)
    model.fit(loader, **OPTIONS, folder=tmp_path)
    assert [line["step"] for line in model.history] == [1, 2, 3, 4, 5, 6]


class Once(IterableDataset):
    """It can be read once, and fails at image `bad`, if any."""

    def __init__(self, bad=None):
        self.images = (ALL[i] if i != bad else ALL[i, :, 1:] for i in range(12))

    def __iter__(self):
        return self.images


@pytest.mark.parametrize(("bad", "line"), [(None, "ended after one pass: pass an iterable that can be begun again"),
                                           (10, r"could not be read on: images are \(N, 1, 8, 8\), not \(1, 1, 7, 8\)"),
                                           ])  # fmt: skip
def test_a_loader_that_ends_after_one_pass_costs_no_step(tmp_path, bad, line):
    """The first image shows what the batches are; of the other 11, two go into each step."""
    model = made()
    with pytest.raises(UserError, match=rf"{line}.*; the model has its averaged weights up to step (4|5)") as caught:
        model.fit(DataLoader(Once(bad), batch_size=1), **OPTIONS | {"steps": 9}, folder=tmp_path)
    assert "\n" not in str(caught.value) and not model.training and len(model.history) == 5 - (bad is not None)
    model.fit(DataLoader(ALL, batch_size=1), **OPTIONS | {"steps": 9}, folder=tmp_path)
    assert len(model.history) == 9


@pytest.mark.parametrize(("images", "options", "error", "line"), [
    ((x for x in ALL[:, None]), {}, TypeError, "a generator ends after one pass: pass a DataLoader"),
    (Once(), {}, TypeError, "an IterableDataset gives single images: pass DataLoader"),
    (DataLoader([]), {}, ValueError, "there are no images"),
    (DataLoader(ALL / 255), {}, ValueError, r"not floats from 0(\.\d+)? to"),
    (GREY, {"validation": GREY[:, 1:]}, ValueError, r"validation images are \(N, 1, 8, 8\), not \(12, 1, 7, 8\)"),
    (GREY, {"keep_best": True}, ValueError, "pass them as validation=images"),
])  # fmt: skip
def test_what_does_not_fit_is_told_before_anything_is_written(tmp_path, images, options, error, line):
    model = made()
    with pytest.raises(error, match=line) as caught:
        model.fit(images, **OPTIONS, folder=tmp_path / "new", **options)
    assert "\n" not in str(caught.value) and not (tmp_path / "new").exists() and equal(model, made())


def test_a_few_images_are_told():
    with pytest.warns(Notice, match="5 images do not fill a batch of 16"):
        made().fit(GREY[:5], steps=1, progress=False, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        made().fit(GREY, **OPTIONS)


def test_the_bar_shows_losses_and_bits(capsys):
    made(cqlib.CQ).fit(GREY, **OPTIONS | {"progress": True}, validation=GREY)
    shown = capsys.readouterr().err
    assert "6/6" in shown and all(name in shown for name in ("bits ", "quality ", "critic ", "validation "))
