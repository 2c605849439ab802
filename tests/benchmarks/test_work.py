"""Every side of the rows at a tiny size: it runs, and does the work that it stands for."""

import math
from functools import partial

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from benchmarks import feeding, flow, machine, sampling, scores, sides, sngan_example, steps, textbook
from cqlib.models.registry import RECIPES, build
from cqlib.nets.coupling import CouplingNet, RealNVP
from cqlib.nets.real_nvp import CouplingResNet

CPU = torch.device("cpu")


def smoke(row):
    return lambda device: RECIPES[row](row, "smoke", 16)


@pytest.mark.parametrize("side", [
    steps.ours(smoke("table1/cq-f"), 1),
    steps.textbook(smoke("table1/cq-f"), 1),
    steps.textbook(smoke("table1/cq-f"), 1, steps.torchflows_f),
    steps.textbook(smoke("table3/nvp"), 1, steps.torchflows_nvp),
    steps.textbook(smoke("table3/sngan-hinge"), 1),
    steps.textbook(smoke("table3/pixelcnnpp"), 1),
    steps.textbook(smoke("table3/vae-iaf"), 1),
    steps.ours(smoke("table3/sngan-hinge"), 1, steps.examples_nets),
    steps.example(smoke("table3/sngan-hinge"), 1),
    flow.inverse(smoke("table1/cq-f"), passes=1),
    flow.inverse(smoke("table1/cq-f"), library=True, as_trained=False, passes=1),
    feeding.feed(1),
    feeding.loader_feed(1),
    feeding.loader_feed(1, pil=True),
    scores.our_features(1),
    scores.plain_features(1),
    scores.of_features(scores.our_kernel, 20, 3),
    sampling.pixelcnnpp(True, size=8, width=2, blocks=1, n=1),
    sampling.pixelcnnpp(False, size=8, width=2, blocks=1, n=1),
    sampling.pixelrnn(True, profile="smoke", size=8, n=1),
    sampling.pixelrnn(False, profile="smoke", size=8, n=1),
])  # fmt: skip
def test_every_side_runs(side):
    work = sides.prepared(side, CPU)
    work.run()
    assert work.units > 0 and work.images > 0


@pytest.mark.parametrize("side, passes", [
    (partial(sampling.pixelcnnpp, size=8, width=2, blocks=1, n=2), 64),
    (partial(sampling.pixelrnn, profile="smoke", size=8, n=2), 3 * 64),
])  # fmt: skip
def test_full_passes_are_extrapolated_to_all_values(side, passes):
    two, four, cached = (sides.prepared(each, CPU) for each in
                         (side(False, positions=2), side(False, positions=4), side(True)))  # fmt: skip
    assert (two.units, four.units, cached.units) == (2 / passes, 4 / passes, 1)
    calls = []
    with register_module_forward_hook(lambda net, *_: calls.append(net)):
        two.run()
        of_two = len(calls)
        four.run()
    assert len(calls) == 3 * of_two > 0
    assert cached.run().shape == (2, 3, 8, 8)


@pytest.mark.parametrize("library", [False, True])
def test_the_inverse_comes_with_its_gradient(library):
    """The backward pass of a product is two products."""
    if library:
        pytest.importorskip("torchflows")
    work = sides.prepared(flow.inverse(smoke("table1/cq-f"), library=library, as_trained=False, passes=3), CPU)
    f = build(smoke("table1/cq-f")(CPU).system).flow
    alone = machine.operations(lambda: f.inverse(torch.randn(work.images, 3, 16, 16)))
    assert machine.operations(work.run) / work.units > 2.5 * alone > 0


def test_the_other_feeds_give_the_images_of_the_set_flipped_or_as_floats():
    data = steps.random_images(4, 8)
    wide = torch.cat([data, data.flip(3)])
    for pil in (False, True):
        batch = next(textbook.byte_batches(data, 8, pil=pil))
        matches = (batch[:, None] == wide[None]).all(dim=(2, 3, 4))
        assert batch.dtype == torch.uint8 and matches.any(1).all() and not matches[:, :8].any(1).all()
        plain = next(textbook.byte_batches(data, 8, flips=False, pil=pil))
        assert (plain[:, None] == data[None]).all(dim=(2, 3, 4)).any(1).all()
    floats = next(textbook.floats(data, 8))
    torch.testing.assert_close(floats.sort(0).values, (data / 127.5 - 1).sort(0).values, rtol=0, atol=1e-6)


def test_both_extractions_give_the_same_features():
    ours, other = (sides.prepared(side, CPU).run() for side in (scores.our_features(2), scores.plain_features(2)))
    torch.testing.assert_close(ours["1280"], other, rtol=1e-3, atol=1e-3)


def test_both_distances_of_two_sets_of_features_are_the_same():
    for ours, other in (("our_frechet", "plain_frechet"), ("our_kernel", "plain_kernel")):
        found = [sides.prepared(scores.of_features(getattr(scores, way), 60, 8), CPU).run() for way in (ours, other)]
        assert found[0] == pytest.approx(found[1], rel=1e-4) and found[0] > 0.1


@pytest.mark.parametrize("scales", [1, 3])
def test_torchflows_assembly_is_invertible_with_the_log_determinant_of_its_jacobian(scales):
    library = pytest.importorskip("benchmarks.torchflows_nvp")
    torch.manual_seed(0)
    f = library.TorchflowsRealNVP((2, 8, 8), lambda c, w: CouplingNet(c, c, w, 1), 4, couplings=2, scales=scales)
    f.double()
    x = torch.randn(8, 2, 8, 8, dtype=torch.double)
    with torch.no_grad():
        for p in f.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    y, log_det = f(x)
    torch.testing.assert_close(f.inverse(y), x, rtol=1e-6, atol=1e-6)
    jacobian = torch.autograd.functional.jacobian(lambda v: f(v.view(1, 2, 8, 8))[0].flatten(), x[0].flatten())
    assert log_det[0].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), rel=1e-6, abs=1e-6)
    assert math.fabs(log_det[0].item()) > 1e-2


def test_torchflows_assembly_has_the_nets_of_ours():
    """As many couplings at every scale: the halves that nets read have half the channels of our packed ones."""
    system = build(smoke("table1/cq-f")(CPU).system)
    ours = system.flow
    steps.torchflows_f(system)
    count = lambda f: sum(isinstance(m, CouplingNet) for m in f.modules())  # noqa: E731
    assert isinstance(ours, RealNVP) and count(ours) == count(system.flow) == 3
    widths = lambda f: {m.stem.weight.shape[0] for m in f.modules() if isinstance(m, CouplingNet)}  # noqa: E731
    assert widths(ours) == widths(system.flow)
    nvp = build(smoke("table3/nvp")(CPU).system)
    resnets = lambda: sum(isinstance(m, CouplingResNet) for m in nvp.modules())  # noqa: E731
    assert resnets() == 10
    steps.torchflows_nvp(nvp)
    assert resnets() == 10


def test_the_example_trains_both_nets(monkeypatch):
    nets = []
    for name in ("generator_net", "critic_net"):
        real = getattr(sngan_example, name)
        monkeypatch.setattr(sngan_example, name, lambda *a, real=real: nets.append(real(*a)) or nets[-1])
    batches = iter(lambda: torch.rand(4, 3, 16, 16) * 2 - 1, None)
    step = sngan_example.sngan_stepper(batches, 16, (4, 8, 16), 5, 4, CPU)
    before = [torch.cat([p.detach().flatten() for p in net.parameters()]) for net in nets]
    assert all(map(math.isfinite, step()))
    for net, start in zip(nets, before, strict=True):
        assert not torch.equal(torch.cat([p.detach().flatten() for p in net.parameters()]), start)
    assert nets[0](torch.randn(2, 5, 1, 1)).shape == (2, 3, 16, 16)


def test_our_step_on_the_examples_nets_does_the_same_work():
    recipe = smoke("table3/sngan-hinge")
    both = (steps.ours(recipe, 1, steps.examples_nets), steps.example(recipe, 1), steps.ours(recipe, 1))
    ours, example, own = (machine.operations(sides.prepared(side, CPU).run) for side in both)
    assert ours == pytest.approx(example, rel=0.05) and own > 1.2 * example
