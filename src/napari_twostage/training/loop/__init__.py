"""Optimisation of one stage: batches, losses, training steps, validation.

`stages.list_stages` says which networks a run trains and on what; `train_stage.train_stage` trains
one of them.
"""
