"""Training images of tests: a domain whose limits and weights are easy to see."""

from __future__ import annotations

from dataclasses import replace

from napari_twostage.models.training_domain import (
    FEATURES,
    TRAITS,
    DiceRule,
    ImageKind,
    TrainingDomain,
)

RULE = DiceRule(
    intercept=0.5, weights=(0.8, 0.0, 0.1, 0.0), errors=(-0.4, 0.3), coverage=0.9, groups=20
)


def make_kind(mean: float = 0.0, spread: float = 1.0, limit: float = 2.0) -> ImageKind:
    """Make a kind whose features all have this mean and spread, and traits this limit."""
    return ImageKind(
        images=30,
        groups=10,
        mean=(mean,) * len(FEATURES),
        spread=(spread,) * len(FEATURES),
        limits=(limit,) * len(TRAITS),
        quality=(1.0, 0.5),
    )


def make_domain(*, limit: float = 2.0, dark: bool = True) -> TrainingDomain:
    """Make a domain of both kinds, or of bright field alone."""
    kind = make_kind(limit=limit)
    return TrainingDomain(bright_field=kind, dark_field=kind if dark else None, dice=RULE)


def around(features: tuple[float, ...], domain: TrainingDomain) -> TrainingDomain:
    """Move both kinds of a domain to these features."""
    kinds = {
        name: replace(kind, mean=features)
        for name in ("bright_field", "dark_field")
        if (kind := getattr(domain, name)) is not None
    }
    return replace(domain, **kinds)
