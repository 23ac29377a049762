# Projects and what is set in them.
