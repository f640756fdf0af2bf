"""What `import dlcli` offers to notebooks and other programs, and what the commands call. Its names are those of `dlcli`."""
