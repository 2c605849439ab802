"""The published data sets: which files they are, how large, under which terms, and how one gets them.

Sizes and hashes of CIFAR-10, STL-10 and CelebA are those of torchvision's data set classes (a test compares
them), whose addresses begin with http: these with https. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

GDRIVE = "https://drive.google.com/uc?id="


@dataclass(frozen=True)
class File:
    """One file as its publisher gives it out."""

    name: str
    bytes: int
    """Its size; where `exact` is False, about."""
    url: str
    """Where it is: an address that can be fetched, or a page on which one agrees to terms first."""
    md5: str | None = None
    exact: bool = True

    @property
    def size(self) -> str:
        """ "170 MB", "about 2.4 GB"."""
        unit, power = ("GB", 9) if self.bytes >= 10**9 else ("MB", 6)
        value = self.bytes / 10**power
        text = f"{value:.0f}" if value >= 20 else f"{value:.1f}".removesuffix(".0")
        return f"{'' if self.exact else 'about '}{text} {unit}"


@dataclass(frozen=True)
class Entry:
    """A data set as its publisher describes it."""

    name: str
    title: str
    sizes: tuple[int, ...]
    """Sides in pixels that can be asked for; the first is the paper's, or the set's own."""
    train: int
    test: int
    classes: int
    files: tuple[tuple[File, ...], ...]
    """Alternatives, best first; the files of one of them are the data set."""
    unpacked: str
    """The layouts that are read besides these files."""
    terms: str
    by_hand: str = ""
    """Why it is not fetched, and what to do; empty for what `load` fetches by itself when it is missing. That is only
    what comes over https and has a published hash to check it by."""

    @property
    def about(self) -> str:
        """One line for `--list`."""
        size = self.sizes[0]
        return f"{self.title}: {self.train:,} + {self.test:,} images, {size} x {size}"

    @property
    def how(self) -> str:
        """How it comes, in a few words."""
        return f"by hand: {self.by_hand}" if self.by_hand else "fetched when first used"

    @property
    def wanted(self) -> str:
        """The files of the best alternative with their sizes and sources, in one line."""
        files, pages = self.files[0], {file.url for file in self.files[0]}
        if len(pages) == 1:
            return f"{' and '.join(f'{file.name} ({file.size})' for file in files)} from {files[0].url}"
        return " and ".join(f"{file.name} ({file.size}) from {file.url}" for file in files)

    def partly(self, train: int, test: int) -> str:
        """Of a copy that has not as many images as are published: "40,000 training images of 100,000"; else ""."""
        counts = (("training", train, self.train), ("test", test, self.test))
        return ", ".join(f"{n:,} {split} images of {whole:,}" for split, n, whole in counts if n != whole)

    def known(self, name: str) -> File | None:
        """The published file of this name."""
        return next((file for alternative in self.files for file in alternative if file.name == name), None)


def _lsun(category: str, title: str, train: int, size: int) -> Entry:
    url = "https://dl.yf.io/lsun/scenes/"
    names = [(f"{category}_train_lmdb.zip", size), (f"{category}_val_lmdb.zip", 6_000_000)]
    return Entry(
        f"lsun-{category.removesuffix('_outdoor')}", title, (64,), train - 9_700, 10_000, 1,
        (tuple(File(name, size, url + name, exact=False) for name, size in names),),
        f"{category}_train_lmdb/ and {category}_val_lmdb/, unzipped",
        "no licence is stated; for research (Yu et al. 2015)",
        "no hash is published to check it by",
    )  # fmt: skip


_IMAGENET = "https://image-net.org/download-images.php"

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "cifar10", "CIFAR-10", (32,), 50_000, 10_000, 10,
            ((File("cifar-10-binary.tar.gz", 170_052_171, "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                   "c32a1d4ab5d03f1284b67883e8d87530"),),
             (File("cifar-10-python.tar.gz", 170_498_071, "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                   "c58f30108f718f92721af3b95e74349a"),)),
            "cifar-10-batches-bin/ or cifar-10-batches-py/",
            "no licence is stated; cite Krizhevsky (2009)",
        ),
        Entry(
            "stl10", "STL-10", (48,), 105_000, 8_000, 11,
            ((File("stl10_binary.tar.gz", 2_640_397_119,
                   "https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
                   "91f7769df0f17e558f3565bffb0c7dfb"),),),
            "stl10_binary/",
            "no licence is stated; images from ImageNet, cite Coates et al. (2011)",
        ),
        Entry(
            "celeba", "CelebA, aligned and cropped", (64,), 162_770, 19_962, 1,
            ((File("img_align_celeba.zip", 1_443_490_838, f"{GDRIVE}0B7EVK8r0v71pZjFTYXZWM3FlRnM",
                   "00d2c5bc6d35e252742224ab0c1e8fcb"),
              File("list_eval_partition.txt", 2_800_000, f"{GDRIVE}0B7EVK8r0v71pY0NSMzRuSXJEVkk",
                   "d32c9cbf5e040fd4025c592c306e6668", exact=False)),),
            "img_align_celeba/ beside list_eval_partition.txt",
            "non-commercial research only, not to be passed on (Liu et al. 2015)",
        ),
        _lsun("bedroom", "LSUN bedrooms", 3_033_042, 42_800_000_000),
        _lsun("tower", "LSUN towers", 708_264, 11_200_000_000),
        _lsun("church_outdoor", "LSUN churches", 126_227, 2_300_000_000),
        Entry(
            "imagenet64", "ImageNet, downsampled officially", (64,), 1_281_167, 50_000, 1000,
            (tuple(File(name, size, _IMAGENET, exact=False)
                   for name, size in (("Imagenet64_train_part1_npz.zip", 6_000_000_000),
                                      ("Imagenet64_train_part2_npz.zip", 6_000_000_000),
                                      ("Imagenet64_val_npz.zip", 500_000_000))),
             (File("train_64x64.tar", 12_000_000_000, _IMAGENET, exact=False),
              File("valid_64x64.tar", 500_000_000, _IMAGENET, exact=False))),
            "their unpacked files: train_data_batch_1 to 10 and val_data, or train_64x64/ and valid_64x64/",
            "non-commercial research and teaching, after signing up at image-net.org",
            "sign up at image-net.org",
        ),
        Entry(
            "tiny-imagenet", "Tiny ImageNet", (64, 32), 100_000, 10_000, 200,
            ((File("tiny-imagenet-200.zip", 248_100_043, "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
                   "90528d7ca1a48142e341f4ef8d21d0de"),),),
            "tiny-imagenet-200/",
            "no licence is stated; images from ImageNet: non-commercial research and teaching",
        ),
    )
}  # fmt: skip
"""Name -> its entry, in the order of the paper, then what stands in for it."""

SIZED: dict[str, tuple[Entry, int]] = {
    f"{name}:{size}": (entry, size) for name, entry in ENTRIES.items() for size in entry.sizes if len(entry.sizes) > 1
}
"""Names that keep one of a data set's sizes under every profile ("tiny-imagenet:64") -> its entry and that size."""


def entry_of(name: str) -> Entry | None:
    """The published data set behind a name, of any size or of one; None for photos10, toy2d and your own images."""
    return ENTRIES.get(name) or SIZED.get(name, (None,))[0]
