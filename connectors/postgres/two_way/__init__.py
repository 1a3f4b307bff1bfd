"""Tables that go both ways: what the resolver needs to know is read, and what it decides is written and told.

`notes` reads what our own transactions say of themselves, `canonical` has the rows' common form, `outward` writes into
a spoke, `inward` into the hub, `observing` follows the hub's own stream, and `session` is what the writer sees of them.
"""
