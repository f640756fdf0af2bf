"""Tables in files: CSV and its relatives, Parquet and Excel, all read by the same rules."""
