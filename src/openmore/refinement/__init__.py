"""Geometric polish of cameras: correspondences, bundle adjustment, and depth and motion measured under the answer.

    apply -> refine -> matching     key points, verified pairs, tracks
                    -> cameras      a shot's cameras; asks adjustment again and again
                    -> loops        long clips that come back
          -> dense                  depth and motion of every pixel
    stream                          the sliding window, for frames that arrive one by one

`adjustment` knows of nothing but points and cameras; `matching` of it, `cameras` of both, and the others of all three.
`report` and `warnings` say what happened, `options` how much work to do.
"""
