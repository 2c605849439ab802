"""A file for each published data set: its card and its reader.

A new one is a file here with `ENTRIES`, cards whose `read` is a function of that file. What it imports beyond the
standard library and `cqlib.data.card`, it imports within the function: names are listed before anything is installed.
"""
