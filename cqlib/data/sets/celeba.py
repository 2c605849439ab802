"""CelebA (Liu et al. 2015): of each aligned face, 178 x 218, the rows 40 to 187 and columns 15 to 162, the usual crop
since Larsen et al. (2016), averaged down to 64 x 64. Training and test are partitions 0 and 2 of the list; 1, for
validation, is not used."""

from functools import partial
from pathlib import Path

from cqlib.data.catalogue import GDRIVE, DecodedSplits, File, Images, PublishedDataset


def read(folder: Path, size: int) -> DecodedSplits:
    from cqlib.data.dataset import shuffled
    from cqlib.data.reading import decode, threaded

    lines = (folder / "list_eval_partition.txt").read_text("ascii").splitlines()
    partitions = dict(line.split() for line in lines)

    def split(partition: str) -> Images:
        names = shuffled([name for name, number in partitions.items() if number == partition])
        files = (folder / "img_align_celeba" / name for name in names)
        return [0] * len(names), threaded(partial(decode, size=size, crop=148, top=40), files)

    how = f"148x148 from row 40 and column 15, area-averaged to {size}x{size}"
    return DecodedSplits(("all",), split("0"), split("2"), how)


ENTRIES = (
    PublishedDataset(
        "celeba", "CelebA, aligned and cropped", (64,), 162_770, 19_962,
        (File("img_align_celeba.zip", 1_443_490_838, f"{GDRIVE}0B7EVK8r0v71pZjFTYXZWM3FlRnM",
              "00d2c5bc6d35e252742224ab0c1e8fcb", "img_align_celeba"),
         File("list_eval_partition.txt", 2_800_000, f"{GDRIVE}0B7EVK8r0v71pY0NSMzRuSXJEVkk",
              "d32c9cbf5e040fd4025c592c306e6668")),
        ("img_align_celeba", "list_eval_partition.txt"),
        "non-commercial research only, not to be passed on (Liu et al. 2015)", classes=1, read=read,
    ),
)  # fmt: skip
