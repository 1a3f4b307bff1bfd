"""The witness: counts what was lost, repeated, reordered or damaged on the way from the primary to a target.

It shares no code with the daemon. On the primary, triggers write every change into `witness.journal`, which no
publication names, in the transaction of the change. On the target, triggers write every change into `witness.log`.
In between, the topics are read from their beginning. What the three say is compared, key by key.

What people change in the target is not its matter: it counts before that begins. Where tables go both ways, it counts
then too what the daemon has changed in the primary, which has to be nothing.
"""

from daemon.embedded.witness.count import count
from daemon.embedded.witness.install import install
from daemon.embedded.witness.report import Finding, WitnessReport

__all__ = ["Finding", "WitnessReport", "count", "install"]
