"""A script of changes on both sides, and a ledger of what must come of them, written from the design and not from the
code that resolves.

`script` draws who changes what and when, `ledger` says what each rule gives, `play` commits the changes while nothing
is taken over, and `compare` holds both databases and the queue against the ledger.
"""
