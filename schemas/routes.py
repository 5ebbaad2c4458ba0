"""The outputs of TrackMembership, named where it writes them and where they are taken apart."""

CHANGE = "change"
REJECT = "reject"
LATE = "late"
TOTALS = "totals"
