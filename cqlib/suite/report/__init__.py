"""From records to run sets, verdicts, tables, pictures and the page."""
