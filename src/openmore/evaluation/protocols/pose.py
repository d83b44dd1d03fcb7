"""Video pose: Sintel, TUM-dynamics, Bonn, ScanNet as MonST3R and CUT3R defined them.

Choices
- Sim(3) alignment on all poses, ATE / RPE-t / RPE-r, then the plain mean over sequences. Near-static truths are
  measured (`smallest_motion=0`), as published; a sequence that cannot be aligned at all is a counted failure.
- Subsets: 14 Sintel sequences; TUM every third associated frame, first 90; Bonn frames 30..139 with true poses BY
  POSITION and pictures not undistorted, as published (no association by time); ScanNet test scenes 0707..0806, colour
  pictures, first 270 frames by 3, less those where tracking was lost (they have no true pose).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openmore.data.datasets.base import Dataset
from openmore.data.datasets.registry import open_dataset
from openmore.errors import DataError
from openmore.evaluation.prediction import Prediction
from openmore.evaluation.protocols.base import Case, Column, Plan, Row, plain_mean, plan_jobs, present
from openmore.evaluation.trajectory import trajectory_errors

SINTEL_POSE = (
    "alley_2 ambush_4 ambush_5 ambush_6 cave_2 cave_4 market_2 market_5 market_6 shaman_3 sleeping_1 sleeping_2 "
    "temple_2 temple_3"
).split()
SINTEL_ALL = sorted(
    [*SINTEL_POSE, *"alley_1 ambush_2 ambush_7 bamboo_1 bamboo_2 bandage_1 bandage_2 mountain_1 shaman_2".split()]
)
SINTEL_SHORT = {"ambush_2": 21, "ambush_4": 33, "ambush_6": 20, "market_6": 40}  # frames; the others have 50 [recalled]
BONN = [f"rgbd_bonn_{name}" for name in "balloon2 crowd2 crowd3 person_tracking2 synchronous".split()]
TUM_DYNAMICS = [
    f"rgbd_dataset_freiburg3_{activity}_{path}"
    for activity in ("sitting", "walking")
    for path in ("static", "xyz", "halfsphere", "rpy")
]
SCANNET_TEST = [f"scene{number:04d}_00" for number in range(707, 807)]

COLUMNS = (Column("ate", "ATE"), Column("rpe_translation", "RPE-t"), Column("rpe_rotation_deg", "RPE-r (deg)"))


@dataclass(frozen=True)
class PoseBenchmark:
    """ATE and RPE on fixed frames of fixed sequences."""

    name: str
    title: str
    reader: str
    options: dict[str, object]
    sequences: Sequence[str]
    select: Callable[[list[int]], list[int]]  # usable frame ids -> those of the benchmark
    frames: Callable[[str], int | None]  # of a sequence in the benchmark
    note: str = ""
    columns: tuple[Column, ...] = COLUMNS

    def dataset(self, root: Path) -> Dataset:
        return open_dataset(self.reader, root, **self.options)

    def plan(self, dataset: Dataset) -> Plan:
        here, missing = present(dataset, self.sequences)
        return plan_jobs(dataset, here, missing, select=self.select, fewest=2, expected=self.frames)

    def measure(self, prediction: Prediction, case: Case) -> Row:
        if prediction.world_from_cam is None:
            raise DataError(f"{case.job.sequence}: the method predicts no cameras")
        return trajectory_errors(prediction.world_from_cam, case.sample.world_from_cam, smallest_motion=0.0).as_dict()

    def summarise(self, rows: Mapping[str, Row]) -> dict[str, float]:
        return plain_mean(rows)


def unknown_length(sequence: str) -> int | None:
    """The benchmark takes what there is."""
    return None


def sintel_length(sequence: str) -> int | None:
    """Frames of a Sintel sequence; those of the 14 sum to the 643 of the published scorer."""
    return SINTEL_SHORT.get(sequence, 50)


def ninety(sequence: str) -> int | None:
    """TUM-dynamics and ScanNet."""
    return 90


def one_hundred_and_ten(sequence: str) -> int | None:
    """Bonn."""
    return 110


def every_third_of_first_ninety(ids: list[int]) -> list[int]:
    """TUM-dynamics: every third frame, 90 in all."""
    return ids[::3][:90]


def first_270_by_three(ids: list[int]) -> list[int]:
    """ScanNet: frames 0, 3, ... 267 of the scan; frames without tracking are absent."""
    return [i for i in ids if i < 270 and i % 3 == 0]


def frames_30_to_139(ids: list[int]) -> list[int]:
    """Bonn: 110 frames."""
    return [i for i in ids if 30 <= i < 140]


def sintel_pose() -> PoseBenchmark:
    """The 14 sequences, all frames, final render."""
    return PoseBenchmark("sintel-pose", "Sintel camera pose", "sintel", {}, SINTEL_POSE, list, sintel_length)


def tum_pose() -> PoseBenchmark:
    """TUM-dynamics."""
    return PoseBenchmark(
        "tum-pose", "TUM-dynamics camera pose", "tum", {}, TUM_DYNAMICS, every_third_of_first_ninety, ninety
    )


def bonn_pose() -> PoseBenchmark:
    """Bonn with poses by position."""
    note = "True poses are taken by position and belong to the motion-capture marker, as in every published number."
    options: dict[str, object] = {"by_position": True}
    take, length = frames_30_to_139, one_hundred_and_ten
    return PoseBenchmark("bonn-pose", "Bonn camera pose", "bonn", options, BONN, take, length, note)


def scannet_pose() -> PoseBenchmark:
    """100 test scenes, 90 frames each, colour pictures."""
    options: dict[str, object] = {"color_only": True}
    return PoseBenchmark(
        "scannet-pose", "ScanNet camera pose", "scannet", options, SCANNET_TEST, first_270_by_three, ninety
    )
