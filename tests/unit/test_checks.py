from __future__ import annotations

import pytest
import torch

from sslight.checks import check_classes, check_labels, check_memory, check_same_images
from sslight.errors import RefusedRunError


def test_what_was_kept_of_other_images_is_refused():
    check_same_images("npid", "the memory has 8 rows", 8, 8)
    with pytest.raises(RefusedRunError, match="npid: the memory has 8 rows, but there are 9 train"):
        check_same_images("npid", "the memory has 8 rows", 8, 9)


def test_a_memory_is_of_as_many_images_as_there_are():
    check_memory("npid", None, 9)
    check_memory("npid", 9, None)
    check_memory("npid", 9, 9)
    with pytest.raises(RefusedRunError, match="number of training images is unknown"):
        check_memory("npid", None, None)
    with pytest.raises(RefusedRunError, match="8 rows, but the training data has 9 images"):
        check_memory("npid", 8, 9)


def test_a_classifier_is_of_as_many_classes_as_there_are_or_more():
    check_classes("supervised", None, 7)
    check_classes("supervised", 7, None)
    check_classes("supervised", 9, 7)
    with pytest.raises(RefusedRunError, match=r"the number of classes is unknown.*num_classes"):
        check_classes("supervised", None, None)
    with pytest.raises(RefusedRunError, match="num_classes is 3, but the training data has 7"):
        check_classes("supervised", 3, 7)


def test_labels_are_of_the_kind_that_was_told():
    check_labels("supervised", torch.ones(4), False)
    check_labels("supervised", torch.ones(4, 3), True)
    with pytest.raises(RefusedRunError, match=r"labels are \(4, 3\), but multi_label is False"):
        check_labels("supervised", torch.ones(4, 3), False)
    with pytest.raises(RefusedRunError, match=r"labels are \(4,\), but multi_label is True"):
        check_labels("supervised", torch.ones(4), True)
