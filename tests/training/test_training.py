"""The loop: resuming is bit-equal, what is not finite is skipped and counted, steps are what the config says."""

import json
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
import torch
from small_models import StopAfter, images
from torch import nn
from torch.optim.swa_utils import AveragedModel

from benchmarks import textbook
from cqlib.data.grids import tiles, unscaled
from cqlib.models import cq
from cqlib.models.base import System
from cqlib.models.registry import build
from cqlib.pixels import to_uint8
from cqlib.recipe import TrainingConfig
from cqlib.training import loop as training
from cqlib.training.average import Average
from cqlib.training.log import Log
from cqlib.training.loop import Loop
from cqlib.training.optimisers import load_state, make_optimiser
from cqlib.training.snapshots import snapshot_path, snapshots
from cqlib.util.checkpoint import load_checkpoint
from cqlib.util.errors import StoppedEarly, UserError
from cqlib.util.fp32 import full_fp32
from cqlib.util.provenance import GitInfo

IMAGES = images(40)
train = partial(training.train, key="this one")


class Line(System):
    """One weight; its generator loss is a parabola, its critic loss too; counts what is asked of it. `bad`: the calls,
    `bad_critic`: the steps of the critic, whose loss is no number."""

    def __init__(self, critic=False, bad=(), bad_critic=()):
        super().__init__()
        self.shape = (3, 16, 16)
        self.weight = nn.Parameter(torch.tensor(5.0))
        self.bad, self.bad_critic, self.calls, self.seen = set(bad), set(bad_critic), 0, []
        if critic:
            self.critic = nn.Linear(1, 1)

    def generator_losses(self, x):
        self.calls += 1
        self.seen.append(x)
        factor = float("nan") if self.calls in self.bad else 1.0
        return {"total": factor * self.weight.square()}

    def critic_losses(self, x, *, step):
        self.seen.append(step)
        factor = float("nan") if step in self.bad_critic else 1.0
        return {"total": factor * self.critic.weight.square().sum()}


def config(**changes):
    return replace(TrainingConfig(steps=20, batch_size=8, log_every=5, flips=False), **changes)


def loop_of(folder, system, data=IMAGES, *, seed=0, **changes):
    """A training before its first step."""
    return Loop(system, data, None, config(**changes), seed, folder, "x", torch.device("cpu"))


def stopped(folder, after, system=None, **more):
    """A training of 20 steps that is stopped after so many."""
    with pytest.raises(StoppedEarly):
        train(system or Line(), IMAGES, config(), seed=0, folder=folder, stop=StopAfter(after), **more)


def weights(result):
    return torch.cat([p.flatten() for p in result.system.state_dict().values()])


def test_resuming_is_bit_equal(tmp_path):
    """In weights and log, for the seed that is asked for; tests/models resumes every system."""
    recipe = cq.recipe("table1/cq-f", "smoke", 16)
    run_config = replace(recipe.training, steps=6, log_every=3)

    def go(folder, stop=None):
        torch.manual_seed(1)
        return train(build(recipe.system), IMAGES, run_config, seed=4, folder=tmp_path / folder, stop=stop)

    whole = go("whole")
    with pytest.raises(StoppedEarly, match="step 4 of 6"):
        go("parts", StopAfter(4))
    assert torch.equal(weights(go("parts")), weights(whole))
    logs = [(tmp_path / f / "training.jsonl").read_text().splitlines() for f in ("whole", "parts")]
    a, b = ([{**json.loads(line), "seconds": 0} for line in log] for log in logs)
    assert a == b and a[-1]["step"] == 6  # the interval that was cut in two included
    torch.manual_seed(1)
    other = train(build(recipe.system), IMAGES, run_config, seed=5, folder=tmp_path / "other")
    assert not torch.equal(weights(other), weights(whole))


def test_samples_of_the_same_codes_are_kept_along_the_training(tmp_path):
    """A line of the picture for each step, of the averaged weights; neither they nor a stop change the training."""
    recipe = cq.recipe("table1/cq-f", "smoke", 16)
    run_config = replace(recipe.training, steps=6)

    def go(folder, stop=None, history=3):
        torch.manual_seed(1)
        more = {"seed": 4, "folder": tmp_path / folder, "stop": stop, "history": history}
        return train(build(recipe.system), IMAGES, run_config, **more)

    whole, plain = go("whole"), go("plain", history=0)
    with pytest.raises(StoppedEarly, match="step 3 of 6"):
        go("parts", StopAfter(3))
    assert torch.equal(weights(go("parts")), weights(whole)) and torch.equal(weights(plain), weights(whole))
    files = [tmp_path / folder / "training.history.png" for folder in ("whole", "parts", "plain")]
    assert files[0].read_bytes() == files[1].read_bytes() and not files[2].exists()
    shown = tiles(unscaled(files[0].read_bytes(), 16), 16)
    assert len(shown) == 3 * 16
    last = whole.system.sample(16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shown[32:], to_uint8(last)) and not torch.equal(shown[:16], shown[32:])


def test_a_training_is_dirty_if_the_code_of_any_call_was(tmp_path):
    a, b = "a" * 40, "b" * 40
    for git in (GitInfo(a, True), GitInfo(a, False)):
        stopped(tmp_path, 3, git=git)
    result = train(Line(), IMAGES, config(), seed=0, folder=tmp_path, git=GitInfo(b, False))
    assert result.git == GitInfo(b, True)


def test_training_leaves_the_callers_random_state_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(Line(), IMAGES, config(), seed=0, folder=tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_a_damaged_state_is_not_used(tmp_path):
    stopped(tmp_path, 5)
    path = tmp_path / "training.checkpoint"
    path.write_bytes(path.read_bytes()[:100])
    system = Line()
    result = train(system, IMAGES, config(), seed=0, folder=tmp_path)
    assert system.calls == 20 and ["starts from the beginning" in note for note in result.notes] == [True]


def test_a_state_under_another_key_or_none_is_not_used(tmp_path):
    for key in ("a", "b", None, None):
        system = Line()
        train(system, IMAGES, config(), seed=0, folder=str(tmp_path), key=key)
        assert system.calls == 20


@pytest.mark.parametrize(("data", "changes", "told"), [
    (IMAGES[:0], {}, r"\(3, 16, 16\) cannot be trained on torch.uint8 \(0, 3, 16, 16\)"),
    (IMAGES[..., :8], {}, r"\(3, 16, 16\) cannot be trained on torch.uint8 \(40, 3, 16, 8\)"),
    (IMAGES.long(), {}, r"\(3, 16, 16\) cannot be trained on torch.int64 \(40, 3, 16, 16\)"),
    (IMAGES / 255, {}, "pixels are uint8"),
    (IMAGES, {"optimiser": "Adam"}, "optimiser is adam or adamax or rmsprop, not 'Adam'"),
    (IMAGES, {"optimiser": "sgd"}, "optimiser is adam or adamax or rmsprop, not 'sgd'"),
    (IMAGES, {"precision": "fp16"}, "precision is fp32 or tf32 or bf16, not 'fp16'"),
])  # fmt: skip
def test_what_cannot_be_trained_is_told_before_the_first_step(tmp_path, data, changes, told):
    with pytest.raises(ValueError, match=told):
        train(Line(), data, config(**changes), seed=0, folder=tmp_path)
    labelled, labels = Line(), torch.zeros(5, dtype=torch.long)
    labelled.uses_labels = True
    with pytest.raises(ValueError, match="there are 5 labels of 40 images"):
        train(labelled, IMAGES, config(), seed=0, folder=tmp_path, labels=labels)
    assert not list(tmp_path.iterdir())


def test_every_image_is_seen_once_per_epoch_and_the_order_depends_on_the_seed(tmp_path):
    orders = []
    for seed in (0, 0, 1):
        loop = loop_of(tmp_path, Line(), seed=seed)
        epoch = torch.cat([loop.batches.next(8)[0] for _ in range(5)])
        match = (epoch[:, None] == IMAGES[None]).all(dim=(2, 3, 4))
        assert torch.equal(match.sum(0), torch.ones(40, dtype=torch.long))
        orders.append(match.long().argmax(1))
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])


def test_flips_are_horizontal_and_half(tmp_path):
    image = IMAGES[:1]
    batch, _ = loop_of(tmp_path, Line(), image, flips=True).batches.next(10_000)
    plain, flipped = ((batch == x).all(dim=(1, 2, 3)) for x in (image, image.flip(3)))
    assert (plain ^ flipped).all() and abs(int(plain.sum()) - 5000) < 200  # four standard deviations


@pytest.mark.parametrize("optimiser", ["adam", "adamax", "rmsprop"])
@pytest.mark.parametrize("skipped", [[1], [2], [3, 4], [1, 3, 6]])
def test_non_finite_steps_are_skipped_and_counted(tmp_path, skipped, optimiser):
    """They change neither weights nor average, nor what the optimiser knows, bit for bit."""

    def state_of(folder, steps, bad):
        result = train(Line(bad=bad), IMAGES, config(steps=steps, optimiser=optimiser), seed=0, folder=folder)
        state = load_checkpoint(folder / "training.checkpoint")
        return result, [state["system"], state["average"], *state["optimisers"][0]["state"].values()]

    (good, kept), (bad, found) = state_of(tmp_path / "a", 3, ()), state_of(tmp_path / "b", 3 + len(skipped), skipped)
    assert (good.skipped, bad.skipped, bad.status) == (0, len(skipped), "done")
    for a, b in zip(kept, found, strict=True):
        assert a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize("bad", [{"bad_critic": [2]}, {"bad": [3]}])
def test_a_step_with_one_bad_update_of_many_counts_as_skipped(bad, tmp_path):
    """The first of two of the critic or of the generator, here; what is good after it does not cover it."""
    system = Line(critic=True, **bad)
    result = train(system, IMAGES, config(steps=4, n_critic=2, n_generator=2), seed=0, folder=tmp_path)
    assert result.skipped == 1 and system.calls == 8


class Averaging(Line):
    """Has a buffer that each pass changes, as batch norm has."""

    def __init__(self, **line):
        super().__init__(**line)
        self.register_buffer("passes", torch.zeros(()))

    def generator_losses(self, x):
        losses = super().generator_losses(x)
        self.passes += losses["total"].detach()
        return losses


def test_a_step_that_is_skipped_leaves_no_trace_in_buffers(tmp_path):
    good = train(Averaging(), IMAGES, config(steps=3), seed=0, folder=tmp_path / "good")
    bad = train(Averaging(bad=[2]), IMAGES, config(steps=4), seed=0, folder=tmp_path / "bad")
    assert good.system.passes == bad.system.passes and torch.isfinite(bad.system.passes)


def test_buffers_are_averaged_as_weights_are(tmp_path):
    loop, average = loop_of(tmp_path, Averaging(), ema=0.5), None
    for t in range(4):
        loop.one_step()
        buffer, decay = loop.system.passes.item(), (1 + t) / (10 + t)
        average = buffer if average is None else decay * average + (1 - decay) * buffer
    assert loop.average.module.passes.item() == pytest.approx(average) and average < 0.99 * buffer


def test_skipped_steps_are_counted_over_an_interruption(tmp_path):
    stopped(tmp_path, 4, Line(bad=[2]))
    assert train(Line(), IMAGES, config(), seed=0, folder=tmp_path).skipped == 1


def test_non_finite_steps_in_a_row_are_counted_over_interruptions(tmp_path):
    """A training that is stopped more often than it may fail would else never diverge."""
    status = None
    while status is None:
        with suppress(StoppedEarly):
            bad = Line(bad=range(1, 99))
            status = train(bad, IMAGES, config(max_nonfinite=5), seed=0, folder=tmp_path, stop=StopAfter(2)).status
    assert status == "diverged"


@pytest.mark.parametrize("seconds, step", [(0.0, 4), (1e9, 0)])
def test_a_crash_loses_what_came_after_the_last_checkpoint(tmp_path, seconds, step):
    class Dies(Line):
        def generator_losses(self, x):
            if self.calls == 4:
                raise RuntimeError("power cut")
            return super().generator_losses(x)

    with pytest.raises(RuntimeError, match="power cut"):
        train(Dies(), IMAGES, config(), seed=0, folder=tmp_path, checkpoint_seconds=seconds)
    state = load_checkpoint(tmp_path / "training.checkpoint")
    assert state["step"] == step


def test_the_log_has_the_means_of_what_was_finite_since_the_line_before(tmp_path):
    totals = []

    class Told(Line):
        def generator_losses(self, x):
            losses = super().generator_losses(x)
            totals.append(losses["total"].item())
            return losses

    train(Told(bad=[2]), IMAGES, config(steps=6, log_every=3), seed=0, folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [(line["step"], line["skipped"]) for line in lines] == [(3, 1), (6, 1)]
    means = (totals[0] + totals[2]) / 2, sum(totals[3:]) / 3
    assert [line["total"] for line in lines] == pytest.approx(means, abs=1e-5)


def test_too_many_in_a_row_stops_at_the_last_good_checkpoint(tmp_path):
    never = train(Line(bad=range(1, 99)), IMAGES, config(max_nonfinite=3), seed=0, folder=tmp_path / "never")
    assert (never.status, never.steps) == ("diverged", 0) and weights(never).item() == 5.0
    stopped(tmp_path, 6)
    result = train(Line(bad=range(2, 99)), IMAGES, config(max_nonfinite=3), seed=0, folder=tmp_path)
    assert result.status == "diverged" and result.steps == 6 and result.skipped == 3
    assert "3 non-finite steps in a row" in result.notes[0]


def test_a_divergence_that_is_read_late_is_told_as_it_was(tmp_path):
    """The host reads the losses where a line of the log is due: what came after the divergence counts for nothing."""
    recovering = Line(bad=(7, 8, 9))
    result = train(recovering, IMAGES, config(max_nonfinite=3, log_every=15), seed=0, folder=tmp_path)
    assert recovering.calls == 15 and (result.status, result.steps, result.skipped) == ("diverged", 0, 3)
    assert "3 non-finite steps in a row at step 9" in result.notes[0]
    (line,) = map(json.loads, (tmp_path / "training.jsonl").read_text().splitlines())
    assert (line["step"], line["skipped"]) == (9, 3)


def test_the_host_reads_what_steps_found_where_a_line_is_due_and_nowhere_else(tmp_path, monkeypatch):
    read, seen = Log.read, []

    def spied(log):
        seen.append([step for step, *_ in log.unread])
        read(log)

    monkeypatch.setattr(Log, "read", spied)
    train(Line(), IMAGES, config(steps=8, log_every=3), seed=0, folder=tmp_path)
    assert [steps for steps in seen if steps] == [[1, 2, 3], [4, 5, 6], [7, 8]]


def test_a_training_that_diverges_keeps_what_it_logged_and_its_snapshots(tmp_path):
    """They are the evidence of how it went; the result is the state of the last checkpoint, here the first."""
    diverging = Line(bad=range(13, 99))
    result = train(diverging, IMAGES, config(max_nonfinite=3, snapshots=3), seed=0, folder=tmp_path)
    assert (result.status, result.steps, result.skipped) == ("diverged", 0, 3)
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [(line["step"], line["skipped"]) for line in lines] == [(5, 0), (10, 0), (15, 3)]
    assert all(line["total"] < 25 for line in lines)  # means of the finite losses
    assert list(snapshots(tmp_path, "training", "this one")) == [5, 10]


def test_adams_epsilon_is_the_configs():
    """The first step of Adam moves a weight by rate * g / (|g| + epsilon)."""
    for epsilon in (1e-8, 1e-4):
        weight = nn.Parameter(torch.tensor([1e-5, 1e-4, 1.0], dtype=torch.float64))
        gradient = weight.grad = weight.detach().clone()
        make_optimiser([weight], config(epsilon=epsilon), 0.1, (0.5, 0.9)).step()
        torch.testing.assert_close(weight.detach(), gradient - 0.1 * gradient / (gradient + epsilon))


def test_n_critic_updates_per_generator_update(tmp_path):
    system = Line(critic=True)
    train(system, IMAGES, config(steps=2, n_critic=3), seed=0, folder=tmp_path)
    assert [s for s in system.seen if isinstance(s, int)] == [0, 1, 2, 3, 4, 5] and system.calls == 2


def test_generator_updates_and_their_batch(tmp_path):
    system = Line(critic=True)
    train(system, IMAGES, config(steps=2, n_generator=3, generator_batch=12), seed=0, folder=tmp_path)
    assert system.calls == 6 and {len(x) for x in system.seen if not isinstance(x, int)} == {12}


class Labelled(Line):
    """Keeps images and labels together, to be compared with the data's."""

    uses_labels = True

    def generator_losses(self, x, labels):
        self.pairs = [*getattr(self, "pairs", []), (x, labels)]
        return super().generator_losses(x)


def test_labels_come_with_their_images_and_only_to_those_who_use_them(tmp_path):
    labels = torch.arange(40)
    system = Labelled()
    train(system, IMAGES, config(), seed=0, folder=tmp_path / "a", labels=labels)
    for x, y in system.pairs:
        assert torch.equal(IMAGES[y], x)
    train(Line(), IMAGES, config(), seed=0, folder=tmp_path / "b", labels=labels)  # would fail on a keyword
    with pytest.raises(ValueError, match="labels"):
        train(Labelled(), IMAGES, config(), seed=0, folder=tmp_path / "c")


@pytest.mark.parametrize("critic", [False, True])
def test_the_first_batch_of_a_training_and_no_other_starts_the_system(tmp_path, critic):
    class Started(Line):
        def initialise(self, x):
            self.seen.append(("started from", x))

    def run(steps):
        system = Started(critic=critic)
        with suppress(StoppedEarly):
            train(system, IMAGES, config(), seed=0, folder=tmp_path, stop=StopAfter(steps))
        return [found for found in system.seen if isinstance(found, tuple)], system.seen

    started, seen = run(3)
    assert len(started) == 1 and seen[0] is started[0]
    assert critic or torch.equal(seen[0][1], seen[1])
    assert run(20)[0] == []  # it goes on from step 3


def test_systems_are_told_how_far_training_is(tmp_path):
    told = []

    class Growing(Line):
        def schedule(self, step, steps):
            told.append((step, steps))

    train(Growing(), IMAGES, config(steps=3), seed=0, folder=tmp_path)
    assert told == [(0, 3), (1, 3), (2, 3)]


def test_the_result_is_the_averaged_weights_in_evaluation_mode(tmp_path):
    system = Line()
    result = train(system, IMAGES, config(), seed=0, folder=tmp_path)
    state = load_checkpoint(tmp_path / "training.checkpoint")
    assert result.system.weight == state["average"]["module.weight"] and not result.system.training
    assert result.system.weight > system.weight + 1e-3  # on its way down the average lags behind


def test_snapshots_hold_the_averaged_weights_of_their_step(tmp_path):
    train(Line(), IMAGES, config(steps=8, snapshots=3), seed=0, folder=tmp_path, key="k")
    found = snapshots(tmp_path, "training", "k")
    assert list(found) == [2, 4, 6]
    with pytest.raises(StoppedEarly):  # the same training, stopped before step 5
        train(Line(), IMAGES, config(steps=8), seed=0, folder=tmp_path / "b", stop=StopAfter(4))
    state = load_checkpoint(tmp_path / "b" / "training.checkpoint")
    assert torch.equal(found[4]["weight"], state["average"]["module.weight"])
    assert snapshots(tmp_path, "training", "other") == {}
    snapshot_path(tmp_path / "training.checkpoint", 2).write_bytes(b"damaged")
    assert list(snapshots(tmp_path, "training", "k")) == [4, 6]


def test_gradients_are_clipped_to_the_configs_norm_of_each_net_and_logged_before(tmp_path):
    norms = {}
    for clips in ((None, None), (1e-3, None), (None, 1e-3)):
        torch.manual_seed(0)
        system = Line(critic=True)
        losses, _ = loop_of(tmp_path, system, gradient_clip=clips[0], critic_gradient_clip=clips[1]).one_step()
        norms[clips] = [p.grad.norm().item() for p in (system.weight, system.critic.weight)]
        logged = [losses["gradient"].item(), losses["critic/gradient"].item()]
        assert logged == pytest.approx(norms[None, None])
    generator, critic = norms[None, None]
    assert generator == pytest.approx(10.0) and critic > 0.01
    assert norms[1e-3, None] == pytest.approx([1e-3, critic], rel=1e-3)
    assert norms[None, 1e-3] == pytest.approx([generator, 1e-3], rel=1e-3)


@pytest.mark.parametrize("ema", [0.0, 0.2])
def test_the_average_has_the_configs_decay(tmp_path, ema):
    loop = loop_of(tmp_path, Line(), ema=ema, learning_rate=0.3)
    average = None
    for t in range(4):
        loop.one_step()
        loop.step += 1
        weight, decay = loop.system.weight.item(), min(ema, (1 + t) / (10 + t))  # 0.2 is passed at t = 2
        average = weight if average is None else decay * average + (1 - decay) * weight
    assert loop.average.module.weight.item() == pytest.approx(average)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_precision_is_used_where_it_is_asked_for_and_nowhere_else(tmp_path, precision, monkeypatch):
    monkeypatch.setattr(training, "check_precision", lambda *_: None)  # as if this were a card
    seen = []

    class Spied(Line):
        def generator_losses(self, x):
            layer = nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
            with full_fp32():  # as a measure during the training
                measures = settings()
            seen.append((layer.dtype, settings(), measures))
            return super().generator_losses(x)

    def settings():
        of_gpu = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
        return [each.fp32_precision for each in (*of_gpu, torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv)]

    assert TrainingConfig(steps=1).precision == "fp32"
    before, exact = settings(), ["ieee"] * 5
    train(Spied(), IMAGES, config(steps=1, precision=precision), seed=0, folder=tmp_path)
    fast = ["tf32"] * 3 + ["ieee"] * 2
    assert seen == [(torch.bfloat16 if precision == "bf16" else torch.float32, fast if precision == "tf32" else exact,
                     exact)]  # fmt: skip
    assert settings() == before


def test_tf32_is_refused_where_the_numbers_would_be_those_of_fp32(tmp_path):
    with pytest.raises(UserError, match="^precision tf32 needs an NVIDIA GPU .* this is cpu: take fp32, or bf16$"):
        train(Line(), IMAGES, config(precision="tf32"), seed=0, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_learning_rates_fall_linearly_after_decay_from(tmp_path):
    loop = loop_of(tmp_path, Line(critic=True), steps=100, decay_from=0.5, learning_rate=1.0, critic_learning_rate=4.0)
    seen = {}
    for step in (0, 50, 75, 100):
        loop.step = step
        seen[step] = loop._rates()
    assert seen == {0: [1.0, 4.0], 50: [1.0, 4.0], 75: [0.5, 2.0], 100: [0.0, 0.0]}


@pytest.mark.parametrize("own, expected", [(None, 1e-3), (0.0, 0.0), (4.0, 4.0)])
def test_a_critic_has_its_own_learning_rate_where_it_is_given_0_too(tmp_path, own, expected):
    asked = config(critic_learning_rate=own)
    assert loop_of(tmp_path, Line(critic=True), critic_learning_rate=own).base_rates == [1e-3, expected]
    loop = textbook.TextbookLoop(Line(critic=True), IMAGES, asked, torch.device("cpu"))
    assert loop.critic.param_groups[0]["lr"] == expected


@pytest.mark.parametrize("own, expected", [(None, (0.9, 0.999)), ((0.5, 0.99), (0.5, 0.99))])
def test_a_critic_has_its_own_betas_where_they_are_given(tmp_path, own, expected):
    loop = loop_of(tmp_path, Line(critic=True), betas=(0.9, 0.999), critic_betas=own)
    assert [each.param_groups[0]["betas"] for each in loop.optimisers] == [(0.9, 0.999), expected]


def test_the_average_is_torchs_bit_for_bit_and_stays_as_it_is_where_a_step_was_bad():
    """Of weights, and of buffers: floats are averaged, counters copied."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    ours, torchs = Average(net, 0.9), AveragedModel(net, multi_avg_fn=textbook.warm_ema(0.9), use_buffers=True)
    for step in range(120):  # 0.9 is passed at t = 80
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        net(torch.randn(4, 5))
        good = step % 3 > 0
        ours.update(net, torch.tensor(good))
        if good:
            torchs.update_parameters(net)
        if step > 0:
            assert all(torch.equal(value, ours.state_dict()[name]) for name, value in torchs.state_dict().items())
    assert ours.n_averaged == 80 and ours.module[1].num_batches_tracked == 120


@pytest.mark.parametrize(("t", "weight"), [(0, 1.0), (1, 1 - 2 / 11), (10_000, 0.1)])
def test_average_forgets_the_start_and_then_decays(t, weight):
    net = nn.Linear(1, 1)
    average = Average(net, 0.9)
    average.n_averaged.fill_(t)
    start, end = average.module.weight.item(), 5.0
    nn.init.constant_(net.weight, end)
    average.update(net, torch.tensor(True))
    assert average.module.weight.item() == pytest.approx(start + weight * (end - start))


@pytest.mark.parametrize("name", ["adam", "adamax", "rmsprop"])
def test_a_state_from_a_card_goes_on_on_a_cpu(name):
    """There optimisers count steps on the card, which a CPU's refuse to."""

    def end(from_card):
        weight, state = nn.Parameter(torch.tensor([1.0, -2.0])), None
        for _ in range(2):
            one = make_optimiser([weight], config(optimiser=name), 0.1, (0.5, 0.99))
            if state:
                load_state(one, state)
            weight.grad = torch.tensor([0.5, -1.0])
            one.step()
            state = one.state_dict()
            for group in state["param_groups"]:
                group["capturable"] = from_card
        return weight.detach()

    assert torch.equal(end(False), end(True))


def test_a_gradient_that_is_not_finite_is_skipped_though_the_loss_is(tmp_path):
    class Root(Line):
        def generator_losses(self, x):  # the gradient of the root at 0 is 0 times infinity
            return {"total": self.weight.square() + (self.weight - self.weight.detach()).abs().sqrt()}

    result = train(Root(), IMAGES, config(steps=2), seed=0, folder=tmp_path)
    assert result.skipped == 2 and result.system.weight == 5


def test_the_rate_decays_by_a_factor_at_each_step(tmp_path):
    loop = loop_of(tmp_path, Line(), steps=100, learning_rate=1.0, decay_per_step=0.9)
    loop.step = 3
    assert loop._rates() == pytest.approx([0.9**3])


def test_the_time_left_is_told_by_the_steps_of_this_process(tmp_path, monkeypatch):
    """A step takes two seconds here; those before the resume, in another process, took none."""
    stopped(tmp_path, 10)
    now, told = [100.0], {}
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])

    class Slow(Line):
        def generator_losses(self, x):
            now[0] += 2.0
            return super().generator_losses(x)

    progress = lambda step, steps, left: told.update({step: left})  # noqa: E731
    train(Slow(), IMAGES, config(), seed=0, folder=tmp_path, progress=progress)
    assert told == {15: 10.0, 20: 0.0}
