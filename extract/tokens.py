"""Which tokens of a vision transformer are patches of the image.

Class and register tokens come first, patches after them: a class token and 14 x 14 patches are 197
tokens (ViT), with four registers 201 (DINOv2), with a distillation token 198 (DeiT), none at all
196 (SigLIP).
"""

from __future__ import annotations

import math


def patch_tokens(tokens: int, known: int | None = None) -> int:
    """Return how many of a number of tokens are patches.

    Args:
        tokens: At least 1.
        known: What the backbone says, for the size of its images. Without it, patches are a
            square, and the largest one there is.
    """
    return known if known is not None and known <= tokens else math.isqrt(tokens) ** 2
