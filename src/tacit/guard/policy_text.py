"""The commented policy that `tacit init` writes: the shortest complete explanation of what an owner decides."""

POLICY_TEXT = '''\
# Tacit policy: what may be asked of these records, and what it may cost.
# The owner of the records keeps this file; nobody who asks can change it. Everything in it is public.
version = 1

[dataset]
name = "my-records"        # public name; budgets, charges and guarantees are about it

[unit]                     # who is protected as one
name = "record"            # what reports call it
# column = "user"          # column that identifies the unit; leave out if every record is its own unit
# window = "day"           # hour, day, week or month: protects one user's day; needed for a budget that renews
rows = 1                   # public assumption: usual number of rows of one unit

[privacy]
epsilon = 1.0              # for everything ever asked within one window; 0.1 is strong, 8 is weak
delta = 1e-6               # well below one over the number of units
relation = "add/remove"    # or "replace" (twice the noise) or "zero-out"
window = "all"             # or "month", "week", "day": the budget renews, the charges stay
count_share = 0.01         # share of the budget for the one noised count of units
filter = "auto"            # or "renyi" (several sampled plans), "single" (one plan for ever), "pure" (counts only, ε without δ)

[limits]
minimum_units = 100        # fewer than this by the noised count: nothing else is answered
approval = "automatic"     # or "owner": each plan waits for an approval in the ledger
# max_rows_per_unit = 100  # further rows of one unit are left out
# questions = ["count@1", "histogram@1", "cells@1"]   # leave out to allow every kind

[ledger]
url = "tacit-ledger.db"    # file beside this one, or postgresql://user@host/database
# key = "ledger.key"       # signing key; by default beside the ledger file

# [domain]
# file = "domain.toml"     # columns, bounds and categories; leave out to find them by charged questions

# [files]
# source = "records.parquet"

[gates]                    # what a pilot must show before a model is recommended; shares, so 0.02 is two points
auc_loss = 0.02            # AUC lost to the model without privacy
recall_loss = 0.05         # detections lost at the same number of alerts
attack_advantage = 0.02    # an attacker's hits at 1 % false alarms, beyond the 1 % of guessing
group_gap = 0.05           # how much worse a group may fare, beyond what it does today
'''
