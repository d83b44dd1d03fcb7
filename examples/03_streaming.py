"""Live reconstruction with bounded memory: push frames, save and resume the stream, refine its cameras.

    python examples/03_streaming.py [clip.mp4] [--weights small] [--out out/03_streaming]

Without a clip a synthetic one is streamed. The source may be anything `openmore.frames` reads: a video, a folder, a
camera number, an rtsp:// address.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import openmore
from openmore.data.synthetic import make_clip

# Eight past frames and the first one: memory and time per frame stay the same however long the video is.
# `refinable` keeps what `refine` needs, at twice the memory.
SETTINGS = {"window": 8, "anchors": 1, "refinable": True}


def main(source: Path | None, weights: str, out: Path) -> None:
    """Stream once without a break, once with a break in the middle, and compare."""
    out.mkdir(parents=True, exist_ok=True)
    frames = list(openmore.frames(source or make_clip(7, frames=14, shape=(126, 168)).images, max_frames=60))
    model = openmore.MoRe.from_pretrained(weights)
    half = len(frames) // 2

    with openmore.StreamingSession(model, **SETTINGS) as stream:
        whole = []
        for frame in frames:
            whole.append(stream.push(frame))  # final: no later frame changes it
            if stream.frames_seen % 4 == 0:
                print(f"frame {stream.frames_seen:>3}: cache {stream.memory_mb:.2f} MB")
        refined = stream.refine()
    print(f"refined the {len(refined.frames)} cameras still held; {refined.note or 'all frames took part'}")
    moved = [np.linalg.norm(c.center - whole[i].camera.center) for i, c in zip(refined.frames, refined.cameras)]
    print(f"refinement moved them by {np.mean(moved):.4f} scene units on average")

    with openmore.StreamingSession(model, **SETTINGS) as stream:
        for frame in frames[:half]:
            stream.push(frame)
        stream.save(out / "stream.safetensors")
    with openmore.StreamingSession(model, **SETTINGS) as stream:  # another process, another day
        stream.load(out / "stream.safetensors")
        resumed = [stream.push(frame) for frame in frames[half:]]

    same = all(np.array_equal(a.depth, b.depth) for a, b in zip(whole[half:], resumed))
    print(f"saved at frame {half} and resumed: the rest is {'equal bit for bit' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help="video, folder of pictures or glob")
    parser.add_argument("--weights", default="small", help="name, file, or untrained:tiny to try without weights")
    parser.add_argument("--out", type=Path, default=Path("out/03_streaming"))
    given = parser.parse_args()
    main(given.source, given.weights, given.out)
