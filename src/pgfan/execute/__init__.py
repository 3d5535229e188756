"""The one loop that carries out a plan, and the worker that runs one chunk.

It knows sessions, the journal and the display by their Protocols in `pgfan.ports` alone; what to
do next is decided by `pgfan.plan.scheduler`.
"""
