from __future__ import annotations

import pytest

from sslight.checks import check_same_images
from sslight.errors import RefusedRunError


def test_what_was_kept_of_other_images_is_refused():
    check_same_images("npid", "the memory has 8 rows", 8, 8)
    with pytest.raises(RefusedRunError, match="npid: the memory has 8 rows, but there are 9 train"):
        check_same_images("npid", "the memory has 8 rows", 8, 9)
