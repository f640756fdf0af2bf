"""Every workaround for a defect of another library, one file per library: its reason, its link, and how it ends.

Private names of other libraries are read here alone. It stands below `spec`, because specs and stages both need it. Each
workaround has a test in `tests/upstream/` that fails once the defect is fixed upstream.
"""
