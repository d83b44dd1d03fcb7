"""docs/evaluation.md is what the committed results say, word for word; published rows are sane data."""

from __future__ import annotations

from benchmarks.evaluation_page import COMMANDS, PAGE, page

from openmore.evaluation.protocols.registry import BUILDERS
from openmore.evaluation.published import published


def test_the_page_is_made_from_the_committed_results() -> None:
    assert PAGE.read_text() == page(), "run: python benchmarks/evaluation_page.py"


def test_every_published_row_belongs_to_a_command_and_has_a_source() -> None:
    commands = {*BUILDERS, "kitti-speed"}
    for suite, rows in published().items():
        assert suite in commands and suite in COMMANDS
        for row in rows:
            assert row.source and row.values
            for key, value in row.values.items():
                assert 0 < value < 100, (suite, row.method, key)
                if key.endswith(("delta_1", "@30")) or key == "j_mean":
                    assert value <= 1


def test_numbers_copied_from_the_supplement() -> None:
    ours = {(row.suite, row.kind): row.values for rows in published().values() for row in rows if row.method == "MoRe"}
    assert ours["co3d", "full attention"] == {"rra@30": 0.9949, "rta@30": 0.9811, "auc@30": 0.9142}
    assert ours["sintel-pose", "streaming"] == {"ate": 0.1474}
    assert ours["kitti-depth", "streaming"] == {"abs_rel": 0.072, "delta_1": 0.966}
