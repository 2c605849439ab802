"""Grey and chroma: an exact change of variables, and colours that keep their grey."""

import torch

from cqlib.nets import colour


def all_colours(step):
    """Every `step`-th level of each channel, with the last one: uint8 (N, 3, 1, 1)."""
    levels = torch.tensor(sorted({*range(0, 256, step), 255}), dtype=torch.uint8)
    return torch.cartesian_prod(levels, levels, levels)[:, :, None, None]


def test_split_and_join_are_inverse_on_colours():
    x = all_colours(3)
    grey, chroma = colour.split(x)
    assert grey.shape == (len(x), 1, 1, 1) and grey.dtype == torch.uint8
    assert chroma.shape == (len(x), 2, 1, 1) and chroma.abs().max() == colour.CHROMA_LIMIT
    assert torch.equal(colour.join(grey, chroma), x.to(torch.int16))
    assert colour.is_colour(grey, chroma).all()


def test_grey_is_between_the_least_and_the_greatest_channel_and_grey_pixels_have_no_chroma():
    x = all_colours(5)
    grey, chroma = colour.split(x)
    assert (grey >= x.amin(1, keepdim=True)).all() and (grey <= x.amax(1, keepdim=True)).all()
    same = (x == x[:, :1]).all(1).flatten()
    assert torch.equal(grey[same], x[same, :1]) and not chroma[same].any() and chroma[~same].flatten(1).any(1).all()


def test_every_pair_is_brought_into_the_gamut_and_keeps_its_grey():
    levels = torch.tensor([*range(-255, 256, 17), -1, 1, 2, 3], dtype=torch.int16)
    chroma = torch.cartesian_prod(levels, levels)
    grey = torch.arange(256, dtype=torch.uint8)
    grey, chroma = grey.repeat_interleave(len(chroma))[:, None, None, None], chroma.repeat(256, 1)[:, :, None, None]
    x = colour.into_gamut(grey, chroma)
    found, kept = colour.split(x)
    assert torch.equal(found, grey)
    fits = colour.is_colour(grey, chroma).flatten()
    assert 0.1 < fits.float().mean() < 0.9
    assert torch.equal(kept[fits], chroma[fits])  # what is a colour already stays
    assert (kept.abs() <= chroma.abs()).all() and (kept.int() * chroma >= 0).all()  # the rest goes towards grey,
    wider = colour._scaled(chroma, torch.full_like(grey, 64, dtype=torch.int32))  # not further than it must
    smaller = (kept.abs() < wider.abs()).any(1).flatten()
    assert not colour.is_colour(grey, wider).flatten()[smaller].any()


def test_chroma_is_dequantised_within_its_cell():
    chroma = torch.arange(-255, 256, dtype=torch.int16).repeat(200)
    c = colour.dequantise_chroma(chroma, generator=torch.Generator().manual_seed(0))
    assert torch.equal(colour.to_chroma(c), chroma)
    rest = 128 * c - chroma
    assert rest.min() >= 0 and rest.max() < 1 and abs(rest.mean() - 0.5) < 0.01 and abs(rest.var() - 1 / 12) < 0.001
    assert torch.equal(colour.to_chroma(torch.tensor([-9.0, 9.0])), torch.tensor([-255, 255], dtype=torch.int16))
