"""Python imports this when it starts: so child processes of tests behave like Windows, too."""

from __future__ import annotations

from tests.any_machine import install

install()
