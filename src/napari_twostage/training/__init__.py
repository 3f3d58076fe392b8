"""Training of two-stage models: the verbs ``train``, ``convert``, ``quantise``, ``precision``.

==================  ==============================================================================
``train``           A run from its configuration to a model bundle; start reading here.
``calibrate``       The model's card: drafted before the training, measured after it.
``convert``         Networks for OpenVINO, which run without torch, added to a bundle.
``quantise``        8-bit integer networks, added to a bundle.
``precision``       Dice and speed of one model on several devices, in several precisions.
``own.toml``        A configuration to start from.
``config/``         TOML files as frozen, checked dataclasses.
``datasets/``       Images and masks of published data sets, of folders and of annotated slides.
``run/``            One run: its folder, its log, its images, its networks.
``loop/``           The optimisation of one stage: batches, losses, steps, validation.
``evaluation/``     Images through the engine, quality metrics, tables.
==================  ==============================================================================

The research that measured the method (the paper's tables, the frontier of Dice against cost) is
not part of the package; it lives in the repository's top-level ``training/``.
"""
