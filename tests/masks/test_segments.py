from __future__ import annotations

import numpy as np
import pytest

from openmore.errors import ConfigError, InputError
from openmore.masks.nms import box_nms, boxes_of
from openmore.masks.segments import InstanceIds, get_segmenter, split_mixed, without_islands

RESIDUAL = np.zeros((40, 50), np.float32)


def two_halves() -> np.ndarray:
    image = np.zeros((40, 50, 3), np.uint8)
    image[:, 25:] = 255
    return image


@pytest.mark.parametrize("name", ["felzenszwalb", "slic"])
def test_superpixels_follow_colour_edges_and_cover_the_picture(name: str) -> None:
    pytest.importorskip("skimage")
    labels = get_segmenter(name)(two_halves(), 0, RESIDUAL, 1.0)
    assert labels.shape == (40, 50) and labels.dtype == np.int32 and labels.min() == 0
    assert not set(np.unique(labels[:, :24])) & set(np.unique(labels[:, 26:]))


def test_residual_regions_cut_at_the_floor_and_drop_islands() -> None:
    residual = RESIDUAL.copy()
    residual[10:30, 10:30] = 5
    residual[35, 45] = 5  # a speck
    labels = get_segmenter("residual", smallest=30)(two_halves(), 0, residual, 1.0)
    assert len(np.unique(labels)) == 2
    assert labels[20, 20] != labels[0, 0] == labels[35, 45]


def test_islands_of_either_value_are_flipped() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[2:8, 2:8], mask[4, 4], mask[9, 9] = 1, 0, 1
    assert without_islands(mask, 5)[9, 9] == 0 and without_islands(mask, 5, of=0)[4, 4] == 1
    assert without_islands(mask, 5, of=0)[0, 0] == 0


def test_instance_ids_become_consecutive_and_must_fit() -> None:
    ids = np.array([[[-1, 7], [7, 30]]])
    assert InstanceIds(ids)(np.zeros((2, 2, 3), np.uint8), 0, RESIDUAL, 1).tolist() == [[0, 1], [1, 2]]
    with pytest.raises(InputError, match="have no frame 1"):
        InstanceIds(ids)(np.zeros((2, 2, 3), np.uint8), 1, RESIDUAL, 1)


def test_split_cuts_only_regions_with_two_real_halves() -> None:
    labels = np.array([[0] * 10, [1] * 10, [-1] * 10])
    residual = np.array([[0] * 6 + [5] * 3 + [np.nan], [5] * 8 + [0, np.nan], [5] * 10], np.float32)
    cut = split_mixed(labels, residual, 1.0, smallest=1.4 * 518 / 10)
    assert cut[0].tolist() == [0] * 6 + [2] * 3 + [0]
    assert (cut[1] == 1).all() and (cut[2] == -1).all()  # one pixel is too small a part; no region, nothing to cut
    assert split_mixed(labels, residual, 1.0, smallest=51.0)[1, 8] == 3


def test_a_part_may_span_several_regions() -> None:
    labels = np.array([[0] * 4 + [1] * 4] * 3)
    residual = np.zeros((3, 8), np.float32)
    residual[1, 3:5] = 5
    cut = split_mixed(labels, residual, 1.0, smallest=1.4 * 518 / 8)
    assert cut[1].tolist() == [0, 0, 0, 2, 2, 1, 1, 1]


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="felzenszwalb, slic"):
        get_segmenter("watershed")


def test_nms_keeps_the_best_of_each_cluster() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [0, 0, 0, 0]], float)
    assert box_nms(boxes, np.array([0.5, 0.9, 0.1, 1.0]), 0.5).tolist() == [1, 2]
    assert box_nms(boxes, np.array([0.5, 0.9, 0.1, 1.0]), 0.9).tolist() == [1, 0, 2]
    assert box_nms(boxes[:0], np.zeros(0), 0.5).tolist() == []


def test_boxes_of_masks() -> None:
    mask = np.zeros((2, 6, 8), bool)
    mask[0, 2:4, 1:7] = True
    assert boxes_of(mask).tolist() == [[1, 2, 7, 4], [0, 0, 0, 0]]
