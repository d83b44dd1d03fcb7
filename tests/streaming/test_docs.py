"""The memory table of docs/streaming.md is what the code allocates."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from openmore.model.config import preset
from openmore.streaming.cache import frame_bytes

PAGE = Path(__file__).parents[2] / "docs" / "streaming.md"
ROW = re.compile(
    r"^\| (.*?) ?\| (\d+)x(\d+) \| ([\d,]+) \| ([\d.]+) MB \| ([\d.]+) MB \| [^|]* \| ([\d.]+) MB \|$", re.M
)


def test_memory_per_frame() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert len(rows) == 4
    name = ""
    for names, width, height, tokens, fp32, bf16, specials in rows:
        name = re.findall(r"`(.*?)`", names)[0] if names else name
        config = preset(name)
        P = config.tokens_per_frame((int(height), int(width)))
        assert int(tokens.replace(",", "")) == P
        cases = ((fp32, P, torch.float32), (bf16, P, torch.bfloat16), (specials, config.first_patch, torch.bfloat16))
        for text, count, dtype in cases:
            digits = len(text.partition(".")[2])
            assert round(frame_bytes(config, count, dtype, refinable=False) / 1e6, digits) == float(text)
