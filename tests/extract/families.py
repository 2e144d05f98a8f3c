"""One small member of every family of `keras.applications`, for tests that run over all."""

FAMILIES = {
    "convnext_tiny": ({}, 64),
    "densenet121": ({}, 64),
    "efficientnet_b0": ({}, 64),
    "efficientnet_v2_b0": ({}, 64),
    "inception_resnet_v2": ({}, 75),
    "inception_v3": ({}, 75),
    "mobilenet": ({"alpha": 0.25}, 64),
    "mobilenet_v2": ({"alpha": 0.35}, 64),
    "mobilenet_v3_small": ({}, 64),
    "nasnet_mobile": ({}, 64),
    "resnet50": ({}, 64),
    "resnet50_v2": ({}, 64),
    "vgg16": ({}, 64),
    "vgg19": ({}, 64),
    "xception": ({}, 75),
}
"""Name to (arguments, image size in pixels): the sizes are small, to be quick."""
