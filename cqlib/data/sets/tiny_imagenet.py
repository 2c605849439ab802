"""Tiny ImageNet: 200 classes of ImageNet (or a copy with fewer) at 64 x 64, or averaged down to 32 x 32. Its validation
images are the test split, because those of test/ have no labels."""

from functools import partial
from pathlib import Path

from cqlib.data.catalogue import DecodedSplits, File, Images, PublishedDataset


def read(folder: Path, size: int) -> DecodedSplits:
    from cqlib.data.reading import FETCH_AGAIN, averaged, decode, require, threaded

    root = folder / "tiny-imagenet-200"
    wnids = (root / "wnids.txt").read_text().split()
    names = root / "words.txt"
    lines = names.read_text("utf-8", "replace").splitlines() if names.is_file() else []
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    train, test = [], []
    folders = {path.name: path / "images" for path in (root / "train").iterdir()}
    for label, wnid in enumerate(wnids):
        files = sorted(folders[wnid].glob("*.JPEG")) if wnid in folders else []
        require(files, root, f"has no images in train/{wnid}/images", FETCH_AGAIN)
        train += [(file, label) for file in files]
    validation = {file.name: file for file in (root / "val" / "images").glob("*")}
    annotations = root / "val" / "val_annotations.txt"  # lines of file, wnid and a box
    for number, line in enumerate(annotations.read_text("utf-8", "replace").splitlines(), 1):
        name, wnid = (*line.split("\t"), "", "")[:2]
        exists = name in validation and wnid in wnids
        require(exists, annotations, f"names no image and class that exist in line {number}", FETCH_AGAIN)
        test.append((validation[name], wnids.index(wnid)))

    def split(members: list[tuple[Path, int]]) -> Images:
        files, labels = [file for file, _ in members], [label for _, label in members]
        return labels, threaded(partial(decode, size=size, side=64), files)

    return DecodedSplits(tuple(words.get(wnid, wnid) for wnid in wnids), split(train), split(test), averaged(64, size))


ENTRIES = (
    PublishedDataset(
        "tiny-imagenet", "Tiny ImageNet", (64, 32), 100_000, 10_000,
        (File("tiny-imagenet-200.zip", 248_100_043, "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
              "90528d7ca1a48142e341f4ef8d21d0de", "tiny-imagenet-200"),),
        ("tiny-imagenet-200/wnids.txt", "tiny-imagenet-200/train", "tiny-imagenet-200/val"),
        "no licence is stated; images from ImageNet: non-commercial research and teaching", read=read,
    ),
)  # fmt: skip
