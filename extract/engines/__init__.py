"""Engines: a backbone → a function from pixels to features.

`engine.py` says what one promises, `openvino.py` runs a converted graph on the processor, and
`keras_backend.py` runs the Keras graph on whichever backend and device Keras has.
"""
