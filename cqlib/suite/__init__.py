"""The machine around the models: it trains every row of the paper's tables, measures it, and writes the report.

experiments   the paper's tables and claims, recipes with changes, runs and their records
report        records -> one flat table of values -> verdicts, tables, pictures, page
lessons       what the lessons show and do not teach
figures       the pictures of the other notebooks
cli           the command line, run_all.sh, notebooks, the cluster
"""
