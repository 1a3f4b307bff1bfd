"""The first link of two systems that were both full before: which rows are the same, and what becomes of them.

`pairs` finds them, `plan` decides by the route's rules, `report` tells; none of them reads or writes anything. `link`
reads both sides, and lets the spoke's rows have the hub's keys; all else is done by the ordinary flow afterwards.
"""
