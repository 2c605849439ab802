"""`fit` with a folder: the same call goes on or returns what has ended, a longer one goes on where it can, and whatever
else is in the folder is refused in one line and stays as it is."""

import json
import threading

import pytest
from own_images import GREY, OPTIONS, Mine, equal, equal_weights, made

import cqlib
from cqlib.suite.experiments import fit_watch, library
from cqlib.training.loop import train
from cqlib.util.checkpoint import load_checkpoint, save_checkpoint, to_bytes
from cqlib.util.errors import UserError
from cqlib.util.locks import file_lock

CHECKPOINT = "training.checkpoint"


class CutOff(Exception):
    """In the place of a power cut."""


@pytest.fixture(autouse=True)
def every_step_is_shown(monkeypatch):
    monkeypatch.setattr(fit_watch, "SHOWN_EVERY", 0.0)


@pytest.fixture
def cut_off(monkeypatch):
    """fit(model, step, …), cut off at a step, with the state of the step before saved."""

    def fit(model, step, **options):
        def show(bar, n):
            bar.n += n
            if bar.n == step:
                raise CutOff

        with monkeypatch.context() as patch, pytest.raises(CutOff):
            patch.setattr(library.tqdm, "update", show)
            patch.setitem(train.__kwdefaults__, "checkpoint_seconds", 0)
            model.fit(GREY, **OPTIONS | options)

    return fit


def test_the_same_call_goes_on_or_returns_what_has_ended(tmp_path, cut_off, monkeypatch):
    whole, model, before = made().fit(GREY, **OPTIONS), made(), made()
    cut_off(model, 4, folder=tmp_path)
    assert equal(model, before) and model.training  # a cut fit leaves the model as it was
    taken = []
    monkeypatch.setattr(library.tqdm, "update", lambda bar, n: taken.append(n))
    assert equal(model.fit(GREY, **OPTIONS, folder=tmp_path), whole) and len(taken) == 3  # step 3 had been saved
    for again in (model, made()):  # the model that has been trained, as in a cell that is run twice, and a new one
        assert equal(again.fit(GREY, **OPTIONS, folder=tmp_path), whole) and len(taken) == 3


@pytest.mark.parametrize(("make", "changes", "what"), [
    (lambda: made(seed=1), {}, "initial weights"),
    (lambda: made().fit(GREY, **OPTIONS | {"steps": 2}), {}, "initial weights"),  # fine-tuned
    (lambda: made(kind=Mine), {}, "class"),
    (lambda: made(latent=5), {}, "latent"),
    (made, {"seed": 1, "learning_rate": 1e-5}, "seed, learning_rate"),
    (made, {"images": GREY[::-1]}, "images"),
])  # fmt: skip
def test_the_folder_of_another_training_is_refused_with_what_differs(tmp_path, make, changes, what):
    first = made().fit(GREY, **OPTIONS, folder=tmp_path)
    kept, model = (tmp_path / CHECKPOINT).read_bytes(), make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match=f"with other {what}: name another folder") as caught:
        model.fit(**{"images": GREY, **OPTIONS, **changes, "folder": tmp_path})
    assert "\n" not in str(caught.value)
    assert equal_weights(before, model)
    assert (tmp_path / CHECKPOINT).read_bytes() == kept and equal(cqlib.load(tmp_path), first)


def test_a_state_from_before_there_were_three_precisions_goes_on(tmp_path, cut_off):
    cut_off(made(), 4, folder=tmp_path)
    state = load_checkpoint(tmp_path / CHECKPOINT)
    key = json.loads(state["key"])
    del key["training"]["precision"]
    key["training"]["bf16"] = False
    save_checkpoint(tmp_path / CHECKPOINT, state | {"key": json.dumps(key)})
    made().fit(GREY, **OPTIONS, folder=tmp_path)
    assert len((tmp_path / "training.jsonl").read_text().splitlines()) == 6
    assert equal(cqlib.load(tmp_path), made().fit(GREY, **OPTIONS))
    with pytest.raises(UserError, match="with other precision: name"):
        made().fit(GREY, **OPTIONS, precision="bf16", folder=tmp_path)


def test_a_longer_fit_goes_on_while_the_learning_rate_is_the_same(tmp_path, cut_off):
    constant = {"decay_from": 1.0}
    made().fit(GREY, **OPTIONS, **constant, folder=tmp_path / "constant")
    longer = made().fit(GREY, **OPTIONS | {"steps": 9}, **constant)
    assert equal(made().fit(GREY, **OPTIONS | {"steps": 9}, **constant, folder=tmp_path / "constant"), longer)
    for _ in range(2):  # now it is a training of nine steps
        assert equal(cqlib.load(tmp_path / "constant").fit(GREY, **OPTIONS | {"steps": 9}, **constant,
                                                           folder=tmp_path / "constant"), longer)  # fmt: skip
    cut_off(made(), 4, folder=tmp_path / "early")  # saved at step 3 of 6, where the rate begins to fall
    longer = made().fit(GREY, **OPTIONS | {"steps": 9})
    assert equal(made().fit(GREY, **OPTIONS | {"steps": 9}, folder=tmp_path / "early"), longer)


@pytest.mark.parametrize("steps", [9, 4])
def test_an_ended_training_is_not_destroyed_by_one_of_other_steps(tmp_path, steps):
    first = made().fit(GREY, **OPTIONS, folder=tmp_path)
    line = rf"at step 6 of 6; .* of {steps} steps .* from step {min(6, steps) // 2}.* on: .*name another folder"
    with pytest.raises(UserError, match=line):
        made().fit(GREY, **OPTIONS | {"steps": steps}, folder=tmp_path)
    assert equal(made().fit(GREY, **OPTIONS, folder=tmp_path), first)


def test_load_reads_what_fit_left(tmp_path, cut_off):
    cut_off(made(), 4, folder=tmp_path)
    found, before = cqlib.load(tmp_path), made()
    assert type(found) is cqlib.VAE and not found.training and not equal(found, before)
    whole = made().fit(GREY, **OPTIONS)
    assert equal(found.fit(GREY, **OPTIONS, folder=tmp_path), whole)  # it goes on, whatever its first weights were
    assert equal(cqlib.load(tmp_path), whole) and equal(cqlib.VAE.load(str(tmp_path)), whole)


def test_two_fits_at_once_share_a_folder_one_after_the_other(tmp_path, capsys):
    whole, models = made().fit(GREY, **OPTIONS), [made(), made()]
    threads = [threading.Thread(target=model.fit, args=(GREY,), kwargs={**OPTIONS, "folder": tmp_path})
               for model in models]  # fmt: skip
    with file_lock(tmp_path / ".lock", "a test"):
        threads[0].start()
        threads[0].join(1.0)
        assert threads[0].is_alive() and not (tmp_path / CHECKPOINT).exists()
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(equal(model, whole) for model in models) and "in use by another process" in capsys.readouterr().err


def test_a_folder_is_of_a_run_of_fit_or_of_save(tmp_path):
    model = made()
    model.save(tmp_path / "saved")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").touch()
    for name in ("saved", "run"):
        with pytest.raises(UserError, match=f"{name} holds a model or a run, and no training of fit: name another"):
            made().fit(GREY, **OPTIONS, folder=tmp_path / name)
    model.fit(GREY, **OPTIONS, folder=tmp_path / "fit")
    with pytest.raises(ValueError, match="fit is the folder of a training.*: save the model to another"):
        model.save(tmp_path / "fit")


def test_a_file_that_is_no_state_of_fit_is_left_alone(tmp_path):
    file = tmp_path / CHECKPOINT
    for content, line in (
        (b"no", "delete it, or name another folder"),
        (to_bytes({"key": "0" * 32}), "no training of fit"),
    ):
        file.write_bytes(content)
        for use in (lambda: made().fit(GREY, **OPTIONS, folder=tmp_path), lambda: cqlib.load(tmp_path)):
            with pytest.raises(UserError, match=line):
                use()
        assert file.read_bytes() == content
