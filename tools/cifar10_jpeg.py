"""CIFAR-10 from JPEG, the images behind the published runs on `npz:cifar10-jpeg`, made out of CIFAR-10:

    pip install jpeglib
    python tools/cifar10_jpeg.py FOLDER   # writes FOLDER/cifar10-jpeg/train.npz and test.npz
    python -m cqlib train table1/cq-f --profile study --data npz:cifar10-jpeg --data-dir FOLDER

Each image is stored as a JPEG file by libjpeg 9 (quality 75, colours halved in both directions) and read back by
Pillow. Newer versions of libjpeg, and libjpeg-turbo, which most programs use, halve the colours in other ways. The
script says whether the images are those of the published runs.
"""

import argparse
import io
import tempfile
from pathlib import Path

import jpeglib
import numpy as np
from PIL import Image
from tqdm import tqdm

from cqlib.data import load

ENCODER, QUALITY, SUBSAMPLING = "9", 75, "4:2:0"
FINGERPRINTS = {"train": "3e44821169d4cc67", "test": "bbc82054eecd9d6f"}
"""Of the published runs, by `cqlib.data.dataset.Split.fingerprint`."""


def through_jpeg(images: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3), each stored as a JPEG file and read back."""
    found = np.empty_like(images)
    with jpeglib.version(ENCODER), tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "image.jpg")
        for i, image in enumerate(tqdm(images)):
            encoded = jpeglib.from_spatial(np.ascontiguousarray(image))
            encoded.samp_factor = SUBSAMPLING
            encoded.write_spatial(str(file), qt=QUALITY)
            found[i] = np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB"))
    return found


def main() -> None:
    """Encode both splits, write them, compare them with the published ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where cifar10-jpeg/ is made; CIFAR-10 is looked for there, too")
    folder = parser.parse_args().folder
    data = load("cifar10", data_dir=folder)
    target = folder / "cifar10-jpeg"
    target.mkdir(parents=True, exist_ok=True)
    for split in (data.train, data.test):
        images = through_jpeg(split.images.permute(0, 2, 3, 1).numpy())
        np.savez(target / f"{split.name}.npz", images=images, labels=split.labels.numpy().astype(np.uint8))
    made = load("npz:cifar10-jpeg", data_dir=folder)
    for split in (made.train, made.test):
        as_published = split.fingerprint == FINGERPRINTS[split.name]
        print(f"{split.name}: {split.fingerprint}, {'as' if as_published else 'not as'} in the published runs")


if __name__ == "__main__":
    main()
