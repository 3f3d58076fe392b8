"""Seeded fault campaigns: damaged files, kills and hostile inputs, as many as asked for.

``python -m tests.campaigns NAME [--count N] [--seed S] [--out table.md]`` runs a campaign and
prints its table. A campaign is a module or package of this folder with

- ``COUNT``: the number of cases that it runs unless another is asked for, and
- ``campaign(count, seed, folder) -> Iterable[Outcome]``: runs them, with files of its own in
  `folder`, and yields what became of each. What should be kept is left in `folder`.

The same seed gives the same cases on every machine.
"""
