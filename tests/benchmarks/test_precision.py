"""Claims from runs in bf16 beside those from runs in fp32: a verdict that flips is counted."""

import itertools
from dataclasses import replace

from fake_records import record

from benchmarks import precision
from cqlib.experiments.record import write_record


def test_claims_in_bf16_stand_beside_those_in_fp32(tmp_path):
    """Here bf16 turns the claim round that the quality loss lowers FID without f."""
    assert precision.precision(tmp_path) == "Not measured yet."
    for place, fd in (("bf16", {"table1/cq": 100.0, "table1/vae": 130.0}),
                      ("fp32", {"table1/cq": 130.0, "table1/vae": 100.0})):  # fmt: skip
        for row, seed in itertools.product(fd, range(3)):
            made = record(row, seed, device=place)
            for t in ("T0", "T1"):
                made.metrics[f"FD-lite0@{t}"] = replace(made.metrics[f"FD-lite0@{t}"], value=fd[row] + seed)
            write_record(made, tmp_path / "precision" / place)
    text = precision.precision(tmp_path)
    assert "quick, trained in bf16 and in fp32: " in text and "(seeds 0, 1, 2)" in text and ", 1 turned round." in text
    assert "(bf16: bf16; fp32: fp32.)" in text
    line = next(line for line in text.splitlines() if "Without f, the quality loss lowers FID" in line)
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[2] == "holds" and cells[4] == "does not hold" and "+22" in cells[3] and "−29" in cells[5]


def test_one_seed_that_changes_sides_is_turned_round_and_both_bpd_are_told(tmp_path):
    for place, bpd in (("bf16", 5.0), ("fp32", 7.0)):
        for row, value in (("table1/vae", 6.0), ("table1/vae-f", bpd)):
            made = record(row, device=place)
            made.metrics["BPD"] = replace(made.metrics["BPD"], value=value)
            write_record(made, tmp_path / "precision" / place)
    text = precision.precision(tmp_path)
    assert ", 1 turned round." in text
    assert "BPD in bf16 and in fp32: VAE 6.00 and 6.00 (seed 0), VAE-F 5.00 and 7.00 (seed 0)." in text
    write_record(record("table1/cq", 3, device="fp32"), tmp_path / "precision" / "fp32")
    alone = precision.precision(tmp_path)
    assert "Left out, in fp32 alone: table1/cq, seed 3." in alone and ", 1 turned round." in alone
    (tmp_path / "precision" / "fp32" / "table1_cq--photos10--quick--3.json").unlink()
    for place in ("bf16", "fp32"):
        next((tmp_path / "precision" / place).glob("table1_vae-f*")).unlink()
    text = precision.precision(tmp_path)
    assert "verdicts" not in text and "|" not in text and "VAE 6.00 and 6.00 (seed 0). (bf16: " in text
