"""Every check of the data doctor, in the order in which they are made. A check is one file here and its entry in this list."""

from __future__ import annotations

from dlcli.data.doctor.check import Check

CHECKS: tuple[Check, ...] = ()
