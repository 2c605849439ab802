"""CelebA (Liu et al. 2015): of each aligned face, 178 x 218, the rows 40 to 187 and columns 15 to 162, the usual crop
since Larsen et al. (2016), averaged down to 64 x 64. Training and test are partitions 0 and 2 of the list; 1, for
validation, is not used."""

from functools import partial
from pathlib import Path

from cqlib.data.catalogue import GDRIVE, DecodedSplits, File, Images, PublishedDataset


def read(folder: Path, size: int) -> DecodedSplits:
    from cqlib.data.reading import FETCH_AGAIN, decode, require, threaded, verify
    from cqlib.data.sets import ENTRIES

    images, partition = folder / "img_align_celeba", folder / "list_eval_partition.txt"
    verify(folder, [(file.name, file.md5 or "") for file in ENTRIES["celeba"].files if not file.folder], FETCH_AGAIN)
    names: dict[str, list[str]] = {"0": [], "1": [], "2": []}
    for line in partition.read_text("ascii").splitlines():
        name, number = line.split()
        names[number].append(name)
    lacking = {*names["0"], *names["2"]}.difference(file.name for file in images.iterdir())
    such = min(lacking, default="")
    lacks = f"lacks {len(lacking):,} of the images of {partition.name} (such as {such})"
    require(not lacking, images, lacks, FETCH_AGAIN)

    def split(names: list[str]) -> Images:
        face = partial(decode, size=size, crop=148, top=40)
        return [0] * len(names), threaded(face, (images / name for name in names))

    how = f"148x148 from row 40 and column 15, area-averaged to {size}x{size}"
    return DecodedSplits(("all",), split(names["0"]), split(names["2"]), how)


ENTRIES = (
    PublishedDataset(
        "celeba", "CelebA, aligned and cropped", (64,), 162_770, 19_962,
        (File("img_align_celeba.zip", 1_443_490_838, f"{GDRIVE}0B7EVK8r0v71pZjFTYXZWM3FlRnM",
              "00d2c5bc6d35e252742224ab0c1e8fcb", "img_align_celeba"),
         File("list_eval_partition.txt", 2_800_000, f"{GDRIVE}0B7EVK8r0v71pY0NSMzRuSXJEVkk",
              "d32c9cbf5e040fd4025c592c306e6668")),
        ("img_align_celeba", "list_eval_partition.txt"),
        "non-commercial research only, not to be passed on (Liu et al. 2015)", read=read,
    ),
)  # fmt: skip
