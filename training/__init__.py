"""Research: experiments that measured the method; the package never imports it.

======================  ==========================================================================
``evaluate``            Quality and cost of a bundle beside single models, for its card.
``tables/``             The paper's four tables, our figures beside the printed ones.
``frontier/``           Dice against cost: single models, two stages under every tile selector.
``composite/``          Two stages against a dense run on a slide composed of real images.
``configs/``            Training configurations of the paper's and of our own models.
``studies/``            Lists of candidates that ``frontier`` compares.
``object_matching``     Objects found, missed and invented.
``reliability``         Expected calibration error and its diagram.
``item_timing``         Seconds per image of several candidates, measured in turn.
``result_cache``        Results on disk, reused by a rerun.
======================  ==========================================================================

Users train with ``napari-twostage train``, which is part of the package.
"""
