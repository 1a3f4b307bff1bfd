"""Which side's value stands, decided at the hub by field. Pure: no I/O, no clock, no configuration.

`observer` follows the hub's own stream, `inbound` judges a spoke's record, `outbound` plans what a spoke is given,
`override` carries a person's decisions. The steps they name are those of `daemon/decisions/0016`.
"""
