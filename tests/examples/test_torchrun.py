"""examples/torchrun.py on two processes takes the steps of one process with both batches and the same noise."""

import os
import subprocess
import sys

import torch
from scripts import script

import cqlib
from cqlib import data
from cqlib.util.paths import ROOT

SIZE, STEPS, BATCH = 16, 4, 4
NETS = {"widths": (8, 16, 32), "latent": 8}
PROCESS = f"""
import os, sys, torch
from scripts import script
losses = script("examples/torchrun.py").main({SIZE}, {STEPS}, {BATCH}, sys.argv[1], **{NETS})
if os.environ["RANK"] == "0":
    torch.save(losses, sys.argv[1] + "/losses.pt")
os._exit(0)  # gloo's threads, at times still there, would end a process by abort
"""


def of_two(draw, generators):
    """`draw`, whose first half comes from one generator and whose second half from the other."""

    def drawn(*arguments, **options):
        *bound, shape = arguments if isinstance(arguments[-1], tuple) else (arguments,)
        half = (shape[0] // 2, *shape[1:])
        return torch.cat([draw(*bound, half, **options | {"generator": g}) for g in generators])

    return drawn


def test_two_processes_take_the_steps_of_one_with_both_batches(tmp_path, monkeypatch):
    code = tmp_path / "process.py"
    code.write_text(PROCESS)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    command = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", code, tmp_path)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, theirs = torch.load(tmp_path / "losses.pt"), cqlib.load(tmp_path)

    generators = []
    for process in (1, 0):  # the weights at the start are those of the last
        torch.manual_seed(process)
        model = cqlib.CQF(SIZE, **NETS)
        generators.insert(0, torch.Generator())
        generators[0].set_state(torch.get_rng_state())
    for name in ("rand", "randn", "randint"):
        monkeypatch.setattr(torch, name, of_two(getattr(torch, name), generators))
    images = data.load("photos10", size=SIZE).train.images
    losses = script("examples/torchrun.py").train(model, model, images, STEPS, 2 * BATCH)
    torch.testing.assert_close(found, losses, rtol=1e-5, atol=1e-5)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(theirs.state_dict()[name], value, rtol=1e-5, atol=1e-5, msg=name)
