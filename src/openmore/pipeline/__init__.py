"""From frames to a reconstruction: options, pictures, the pass over them, the report, and `reconstruct` around all."""

from openmore.pipeline.options import Options
from openmore.pipeline.passes import outputs_of
from openmore.pipeline.report import Clock, scene_info
from openmore.pipeline.run import reconstruct

__all__ = ["Clock", "Options", "outputs_of", "reconstruct", "scene_info"]
