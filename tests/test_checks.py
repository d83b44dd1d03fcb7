"""Values that people give, as words."""

import pytest

from openmore.checks import named_values
from openmore.errors import ConfigError


def test_named_values_are_json_or_text() -> None:
    words = ["a=1", "b=[1, 2]", "c=dis-fast", "d=x=y", "e=null"]
    assert named_values(words, "--set", "a=1") == {"a": 1, "b": [1, 2], "c": "dis-fast", "d": "x=y", "e": None}
    for wrong in ("stride", "=1", "long side=4"):
        with pytest.raises(ConfigError, match=f"--set '{wrong}' is not NAME=VALUE, for example a=1"):
            named_values([wrong], "--set", "a=1")
