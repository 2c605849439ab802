"""CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of 32 x 32, in the official order. The batches are
pickles, which can run any code: torchvision unpickles them once their MD5 is the published one."""

from pathlib import Path

from cqlib.data.catalogue import DecodedSplits, File, Images, PublishedDataset


def read(folder: Path, _: int) -> DecodedSplits:
    from torchvision import datasets

    from cqlib.data.reading import torchvision_set

    def split(train: bool) -> Images:
        batches = torchvision_set(datasets.CIFAR10, folder, train=train)
        return batches.targets, batches.data.transpose(0, 3, 1, 2)

    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    return DecodedSplits(classes, split(True), split(False), "pixels as published")


ENTRIES = (
    PublishedDataset(
        "cifar10", "CIFAR-10", (32,), 50_000, 10_000,
        (File("cifar-10-python.tar.gz", 170_498_071, "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
              "c58f30108f718f92721af3b95e74349a", "cifar-10-batches-py"),),
        tuple(f"cifar-10-batches-py/{name}" for name in
              ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch",
               "batches.meta")),
        "no licence is stated; cite Krizhevsky (2009)", classes=10, read=read,
    ),
)  # fmt: skip
