"""Tiny presets of KerasHub with random weights: one of each way to make tokens of an image."""

SIZE = 28
PATCH = 7  # 4 x 4 patches


def backbones():
    """Return name → function that builds it."""
    import keras_hub.models as models

    vision = {"patch_size": PATCH, "hidden_dim": 8, "num_layers": 2, "num_heads": 2}
    vision["name"] = "tiny"
    shape = {"image_shape": (SIZE, SIZE, 3)}
    return {
        "vit": lambda: models.ViTBackbone(mlp_dim=16, **vision, **shape),
        "dinov2": lambda: models.DINOV2Backbone(
            intermediate_dim=16,
            num_register_tokens=4,
            position_embedding_shape=(SIZE, SIZE, 3),
            **vision,
            **shape,
        ),
        "siglip": lambda: models.SigLIPVisionEncoder(intermediate_dim=16, **vision, **shape),
        "clip": lambda: models.CLIPVisionEncoder(intermediate_dim=16, **vision, **shape),
    }


def preset(name, folder, **converter):
    """Save a tiny preset with its converter; return its backbone and that converter."""
    import keras
    import keras_hub

    keras.utils.set_random_seed(0)
    backbone = backbones()[name]()
    # DINOv2 begins with zeros where nothing would be told apart.
    for weight in backbone.weights:
        weight.assign(keras.random.normal(weight.shape, stddev=0.3, seed=1))
    made = keras_hub.layers.ImageConverter(image_size=(SIZE, SIZE), **converter)
    backbone.save_to_preset(folder)
    made.save_to_preset(folder)
    return backbone, made
