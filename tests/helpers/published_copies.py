"""Shared by the tests of the published data sets' loaders: small copies that pass for what the catalogue knows."""

import hashlib
from dataclasses import replace

import numpy as np

from cqlib import data
from cqlib.data import catalogue, published


def publish(monkeypatch, name, *files):
    """From now on the publisher of `name` gives out `files`, with their sizes and MD5."""
    known = tuple(catalogue.File(file.name, file.stat().st_size, "https://example.org/data",
                                 hashlib.md5(file.read_bytes()).hexdigest()) for file in files)  # fmt: skip
    monkeypatch.setitem(catalogue.ENTRIES, name, replace(catalogue.ENTRIES[name], files=(known,)))


def bag(images, labels):
    """Images with their labels, whatever their order."""
    return sorted((np.asarray(x).tobytes(), int(y)) for x, y in zip(images, labels, strict=True))


def load_twice(monkeypatch, name, size, folder):
    """The data set by its name, equal to what its loader reads, and the second time without reading the source."""
    loader = published.loader(name)
    source = loader.read(loader.find(folder), size)
    chunks = list(source.chunks())
    first = data.load(name, size=size, data_dir=folder)
    assert (first.name, first.size, first.classes) == (name, size, source.classes)
    assert first.how.startswith(source.how) and " training images of " in first.how  # a small part of the set
    for split in (first.train, first.test):
        own = [chunk for chunk in chunks if chunk.split == split.name]
        images, labels = np.concatenate([c.images for c in own]), np.concatenate([c.labels for c in own])
        assert len(split) == source.counts[split.name] == len(images)
        assert bag(split.images, split.labels) == bag(images, labels)
        assert (split.images.numpy() == images).all() != source.shuffle
    with monkeypatch.context() as patch:
        patch.setattr(type(loader) if name.startswith("lsun-") else loader, "read", None)
        second = data.load(name, size=size, data_dir=folder)
    assert (second.train.fingerprint, second.test.fingerprint) == (first.train.fingerprint, first.test.fingerprint)
    return first
