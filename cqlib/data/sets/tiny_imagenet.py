"""Tiny ImageNet: 200 classes of ImageNet (or a copy with fewer) at 64 x 64, or averaged down to 32 x 32. Its validation
images are the test split, because those of test/ have no labels."""

from functools import partial
from pathlib import Path

from cqlib.data.catalogue import DecodedSplits, File, Images, PublishedDataset


def read(folder: Path, size: int) -> DecodedSplits:
    from cqlib.data.dataset import shuffled
    from cqlib.data.reading import decode, resizing_in_words, threaded

    root = folder / "tiny-imagenet-200"
    wnids = (root / "wnids.txt").read_text().split()
    words = dict(line.split("\t", 1) for line in (root / "words.txt").read_text("utf-8").splitlines())
    train = [(file, label) for label, wnid in enumerate(wnids)
             for file in sorted((root / "train" / wnid / "images").glob("*.JPEG"))]  # fmt: skip
    annotations = (root / "val" / "val_annotations.txt").read_text().splitlines()  # of file, wnid and a box
    test = [(root / "val" / "images" / name, wnids.index(wnid)) for name, wnid, *_ in map(str.split, annotations)]

    def split(members: list[tuple[Path, int]]) -> Images:
        members = shuffled(members)
        return [label for _, label in members], threaded(partial(decode, size=size), [file for file, _ in members])

    return DecodedSplits(
        tuple(words.get(wnid, wnid) for wnid in wnids), split(train), split(test), resizing_in_words(64, size)
    )


ENTRIES = (
    PublishedDataset(
        "tiny-imagenet", "Tiny ImageNet", (64, 32), 100_000, 10_000,
        (File("tiny-imagenet-200.zip", 248_100_043, "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
              "90528d7ca1a48142e341f4ef8d21d0de", "tiny-imagenet-200"),),
        ("tiny-imagenet-200/wnids.txt", "tiny-imagenet-200/train", "tiny-imagenet-200/val"),
        "no licence is stated; images from ImageNet: non-commercial research and teaching", classes=200, read=read,
    ),
)  # fmt: skip
