"""The outputs of TrackMembership, named where it writes them and where they are taken apart."""

PUBLICATION = "publication"
CHANGE = "change"
REJECT = "reject"
LATE = "late"
TOTALS = "totals"
