"""`report.html`: the tables of a run as one page with plots, which needs nothing from elsewhere."""
