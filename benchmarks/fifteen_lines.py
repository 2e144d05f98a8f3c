"""The script that people write today: features once, by `predict` and `np.save`; a head on them.

python benchmarks/fifteen_lines.py PHOTOS MobileNetV2 224 '{"alpha": 0.35}' train validation
"""

import json
import sys

import keras
import numpy as np
from sklearn.linear_model import LogisticRegressionCV

photos, name, size, options, *splits = sys.argv[1:]
build, side = getattr(keras.applications, name), int(size)
base = build(input_shape=(side, side, 3), include_top=False, pooling="avg", **json.loads(options))
preprocess = sys.modules[build.__module__].preprocess_input
X, y = {}, {}
for split in splits:
    images = keras.utils.image_dataset_from_directory(
        f"{photos}/{split}", image_size=(side, side), shuffle=False
    )
    X[split] = base.predict(images.map(lambda pixels, _: preprocess(pixels)))
    y[split] = np.concatenate([labels for _, labels in images])
    np.save(f"{split}.npy", X[split])
head = LogisticRegressionCV(max_iter=1000).fit(X[splits[0]], y[splits[0]])
print(json.dumps({split: head.score(X[split], y[split]) for split in splits}))
