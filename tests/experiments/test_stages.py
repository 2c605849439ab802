"""The stages of a run: which labels a training sees."""

import torch
from small_models import images

from cqlib.data.dataset import Dataset, Split
from cqlib.experiments import stages


def test_labels_of_training_are_the_first_of_each_class_and_none_of_unlabelled_images():
    of = torch.tensor([0, 1, 0, 2, 1, 0, 2])
    splits = (Split(name, images(7), of) for name in ("train", "test"))
    data = Dataset("made", 16, ("a", "b", stages.UNLABELLED), *splits)
    assert stages.labels(data, None).tolist() == [0, 1, 0, -1, 1, 0, -1]
    assert stages.labels(data, 2).tolist() == [0, 1, 0, -1, 1, -1, -1]
    assert stages.labels(data, 1).tolist() == [0, 1, -1, -1, -1, -1, -1]
