"""`docs/metrics.md` and `docs/settings.md`, generated from what they describe; a test holds them to it.

`make docs` writes them.
"""
