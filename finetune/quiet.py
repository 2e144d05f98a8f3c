"""Import Keras without what its backend says on the way, and keep it quiet afterwards."""

from __future__ import annotations

import logging

from extract.quiet import quiet_import


def quiet_keras() -> None:
    """Import Keras. TensorFlow then warns no more of functions that are traced anew.

    It would: each part of a network that is timed, trained or judged is a function of its own.
    """
    quiet_import("keras")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
