"""STL-10 (Coates, Ng and Lee 2011): 96 x 96 images, averaged down to the 48 x 48 of the paper. Training: the 5,000
labelled images and the 100,000 unlabelled ones, with a label of their own, as in SNGAN (Miyato et al. 2018)."""

from functools import partial
from itertools import chain
from pathlib import Path

from cqlib.data.catalogue import Array, DecodedSplits, File, Images, PublishedDataset


def read(folder: Path, size: int) -> DecodedSplits:
    import numpy as np
    from PIL import Image
    from torchvision import datasets

    from cqlib.data.reading import averaged, square, threaded, verify

    root = folder / datasets.STL10.base_folder
    verify(root, datasets.STL10.train_list + datasets.STL10.test_list)
    classes = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck", "unlabelled")

    def pixels(name: str) -> Array:  # stored as (channel, column, row)
        return np.memmap(root / f"{name}_X.bin", np.uint8, "r").reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)

    def split(name: str, *unlabelled: Array) -> Images:
        labels = [number - 1 for number in (root / f"{name}_y.bin").read_bytes()]
        labels += [len(classes) - 1] * sum(map(len, unlabelled))
        images = (Image.fromarray(image) for image in chain(pixels(name), *unlabelled))
        return labels, threaded(partial(square, size=size), images)

    how = f"{averaged(96, size)}; training with the unlabelled images"
    return DecodedSplits(classes, split("train", pixels("unlabeled")), split("test"), how)


ENTRIES = (
    PublishedDataset(
        "stl10", "STL-10", (48,), 105_000, 8_000,
        (File("stl10_binary.tar.gz", 2_640_397_119, "https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
              "91f7769df0f17e558f3565bffb0c7dfb", "stl10_binary"),),
        tuple(f"stl10_binary/{name}.bin" for name in ("train_X", "train_y", "unlabeled_X", "test_X", "test_y")),
        "no licence is stated; images from ImageNet, cite Coates et al. (2011)", read=read,
    ),
)  # fmt: skip
