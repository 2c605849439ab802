"""The published data sets: files, sizes, hashes (torchvision's, where it has them), terms. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

GDRIVE = "https://drive.google.com/uc?id="


@dataclass(frozen=True)
class File:
    """One file as its publisher gives it out."""

    name: str
    bytes: int
    """Its size; a round number is an estimate."""
    url: str
    """An address that can be downloaded, or a page on which one agrees to terms first."""
    md5: str | None = None
    folder: str = ""
    """The folder that an archive holds."""

    @property
    def size(self) -> str:
        """ "170 MB", "about 2.4 GB"."""
        unit, power = ("GB", 9) if self.bytes >= 10**9 else ("MB", 6)
        value = self.bytes / 10**power
        text = f"{value:.0f}" if value >= 20 else f"{value:.1f}".removesuffix(".0")
        return f"{'' if self.bytes % 10**5 else 'about '}{text} {unit}"


@dataclass(frozen=True)
class Entry:
    """A data set as its publisher describes it."""

    name: str
    title: str
    sizes: tuple[int, ...]
    """Sides in pixels that can be asked for; the first is the paper's, or the set's own."""
    train: int
    test: int
    files: tuple[File, ...]
    parts: tuple[str, ...]
    """Files and folders that are read, unpacked, relative to the folder of the data set."""
    terms: str
    by_hand: str = ""
    """Why it is not downloaded, and what to do; empty where it is: only over https and with a published hash."""

    @property
    def about(self) -> str:
        """One line for `--list`."""
        return f"{self.title}: {self.train:,} + {self.test:,} images, {self.sizes[0]} x {self.sizes[0]}"

    @property
    def how(self) -> str:
        """How it comes, in a few words."""
        return f"by hand: {self.by_hand}" if self.by_hand else "fetched when first used"

    @property
    def sources(self) -> str:
        """The files with their sizes and addresses, in one line."""
        if len({file.url for file in self.files}) == 1:
            return f"{' and '.join(f'{file.name} ({file.size})' for file in self.files)} from {self.files[0].url}"
        return " and ".join(f"{file.name} ({file.size}) from {file.url}" for file in self.files)


def _lsun(category: str, title: str, train: int, size: int) -> Entry:
    url = "https://dl.yf.io/lsun/scenes/"
    parts = (f"{category}_train_lmdb", f"{category}_val_lmdb")
    files = tuple(File(f"{part}.zip", n, f"{url}{part}.zip") for part, n in zip(parts, (size, 6_000_000), strict=True))
    name = f"lsun-{category.removesuffix('_outdoor')}"
    terms = "no licence is stated; for research (Yu et al. 2015)"
    return Entry(name, title, (64,), train - 9_700, 10_000, files, parts, terms, "no hash is published to check it by")


_IMAGENET = "https://image-net.org/download-images.php"

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "cifar10", "CIFAR-10", (32,), 50_000, 10_000,
            (File("cifar-10-python.tar.gz", 170_498_071, "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                  "c58f30108f718f92721af3b95e74349a", "cifar-10-batches-py"),),
            ("cifar-10-batches-py",),
            "no licence is stated; cite Krizhevsky (2009)",
        ),
        Entry(
            "stl10", "STL-10", (48,), 105_000, 8_000,
            (File("stl10_binary.tar.gz", 2_640_397_119, "https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
                  "91f7769df0f17e558f3565bffb0c7dfb", "stl10_binary"),),
            ("stl10_binary",),
            "no licence is stated; images from ImageNet, cite Coates et al. (2011)",
        ),
        Entry(
            "celeba", "CelebA, aligned and cropped", (64,), 162_770, 19_962,
            (File("img_align_celeba.zip", 1_443_490_838, f"{GDRIVE}0B7EVK8r0v71pZjFTYXZWM3FlRnM",
                  "00d2c5bc6d35e252742224ab0c1e8fcb", "img_align_celeba"),
             File("list_eval_partition.txt", 2_800_000, f"{GDRIVE}0B7EVK8r0v71pY0NSMzRuSXJEVkk",
                  "d32c9cbf5e040fd4025c592c306e6668")),
            ("img_align_celeba", "list_eval_partition.txt"),
            "non-commercial research only, not to be passed on (Liu et al. 2015)",
        ),
        _lsun("bedroom", "LSUN bedrooms", 3_033_042, 42_800_000_000),
        _lsun("tower", "LSUN towers", 708_264, 11_200_000_000),
        _lsun("church_outdoor", "LSUN churches", 126_227, 2_300_000_000),
        Entry(
            "imagenet64", "ImageNet, downsampled officially", (64,), 1_281_167, 50_000,
            (File("Imagenet64_train_part1_npz.zip", 6_000_000_000, _IMAGENET),
             File("Imagenet64_train_part2_npz.zip", 6_000_000_000, _IMAGENET),
             File("Imagenet64_val_npz.zip", 500_000_000, _IMAGENET)),
            (*(f"train_data_batch_{i}.npz" for i in range(1, 11)), "val_data.npz"),
            "non-commercial research and teaching, after signing up at image-net.org",
            "sign up at image-net.org",
        ),
        Entry(
            "tiny-imagenet", "Tiny ImageNet", (64, 32), 100_000, 10_000,
            (File("tiny-imagenet-200.zip", 248_100_043, "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
                  "90528d7ca1a48142e341f4ef8d21d0de", "tiny-imagenet-200"),),
            ("tiny-imagenet-200/wnids.txt", "tiny-imagenet-200/train", "tiny-imagenet-200/val"),
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
