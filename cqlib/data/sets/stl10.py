"""STL-10 (Coates, Ng and Lee 2011): 96 x 96 images, averaged down to the 48 x 48 of the paper. Training: the 5,000
labelled images and the 100,000 unlabelled ones, with a label of their own, as in SNGAN (Miyato et al. 2018)."""

from pathlib import Path

from cqlib.data.catalogue import DecodedSplits, File, Images, PublishedDataset


def read(folder: Path, size: int) -> DecodedSplits:
    import numpy as np
    from torch.utils.data import ConcatDataset
    from torchvision import datasets

    from cqlib.data.dataset import fixed_order
    from cqlib.data.reading import resizing_in_words, square, threaded, torchvision_set

    classes = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck", "unlabelled")

    def split(*names: str) -> Images:
        parts = [torchvision_set(datasets.STL10, folder, split=name) for name in names]
        images: ConcatDataset = ConcatDataset(parts)
        labels = np.concatenate([part.labels for part in parts]).astype(int)
        labels[labels < 0] = classes.index("unlabelled")
        order = fixed_order(len(images))
        return labels[order], threaded(lambda i: square(images[i][0], size), order)

    how = f"{resizing_in_words(96, size)}; training with the unlabelled images"
    return DecodedSplits(classes, split("train", "unlabeled"), split("test"), how)


ENTRIES = (
    PublishedDataset(
        "stl10", "STL-10", (48,), 105_000, 8_000,
        (File("stl10_binary.tar.gz", 2_640_397_119, "https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
              "91f7769df0f17e558f3565bffb0c7dfb", "stl10_binary"),),
        tuple(f"stl10_binary/{name}.bin" for name in ("train_X", "train_y", "unlabeled_X", "test_X", "test_y")),
        "no licence is stated; images from ImageNet, cite Coates et al. (2011)", classes=10, read=read,
    ),
)  # fmt: skip
