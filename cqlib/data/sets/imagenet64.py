"""ImageNet at 64 x 64, the official batches of Chrabaszcz, Loshchilov and Hutter (2017) as .npz: 1,281,167 + 50,000
images; the classes are numbered from 1, in an order of their own, and not named."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cqlib.data.catalogue import Array, DecodedSplits, File, Images, PublishedDataset

_IMAGENET = "https://image-net.org/download-images.php"


def read(folder: Path, size: int) -> DecodedSplits:
    from cqlib.data.reading import npz

    def images(names: Sequence[str]) -> Iterator[Array]:
        for name in names:
            with npz(folder / name) as arrays:
                yield from arrays["data"].reshape(-1, 3, 64, 64)

    def split(*names: str) -> Images:
        labels: list[int] = []
        for name in names:
            with npz(folder / name) as arrays:
                labels.extend(arrays["labels"].astype(int) - 1)
        return labels, images(names)

    *train, test = ENTRIES[0].parts
    classes = tuple(f"class {number}" for number in range(1, 1001))
    note = "official 64x64 batches (Chrabaszcz et al.)"
    return DecodedSplits(classes, split(*train), split(test), note)


ENTRIES = (
    PublishedDataset(
        "imagenet64", "ImageNet, downsampled officially", (64,), 1_281_167, 50_000,
        (File("Imagenet64_train_part1_npz.zip", 6_000_000_000, _IMAGENET),
         File("Imagenet64_train_part2_npz.zip", 6_000_000_000, _IMAGENET),
         File("Imagenet64_val_npz.zip", 500_000_000, _IMAGENET)),
        (*(f"train_data_batch_{i}.npz" for i in range(1, 11)), "val_data.npz"),
        "non-commercial research and teaching, after signing up at image-net.org",
        "sign up at image-net.org", classes=1000, read=read,
    ),
)  # fmt: skip
