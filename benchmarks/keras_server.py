"""The plain Keras script, kept alive in a process of its own so that it can be interleaved.

Reads requests on stdin, one JSON object a line, and answers with one a line:

    {"images": folder, "warm": true}  →  {"seconds": wall time of `predict`, "images": count}

What is timed is exactly `model.predict(image_dataset_from_directory(...).prefetch(2))`; building
the model and the first, tracing call are not.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    """Build the model that argv describes, then serve."""
    spec = json.loads(sys.argv[1])
    import keras

    from extract import keras_graph
    from extract.backbones import BackboneSpec

    built = keras_graph.build(BackboneSpec(**spec["backbone"]), spec["image_size"])
    model = keras_graph.feature_model(built, keras_graph.resolve(built, []))
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        dataset = keras.utils.image_dataset_from_directory(
            request["images"],
            labels=None,
            shuffle=False,
            image_size=(spec["image_size"], spec["image_size"]),
            verbose=False,
        )
        start = time.perf_counter()
        features = model.predict(dataset.prefetch(2), verbose=0)
        seconds = time.perf_counter() - start
        count = len(features[0] if isinstance(features, list) else features)
        print(json.dumps({"seconds": seconds, "images": count}), flush=True)


if __name__ == "__main__":
    main()
