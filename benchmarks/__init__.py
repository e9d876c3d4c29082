"""Benchmarks of the executor against its peers: ``python -m benchmarks``.

From the bottom up::

    tasks      the functions that run in workers
    peers      every pool behind the same few calls
    case       Case and Mark: what is measured, and what must hold of it
    cases/     one benchmark a file
    probe      one measurement in a fresh process
    group      that process and all that it starts, with an end
    rounds     many probes, interleaved
    storm      another kind of table, who survives a storm of kills; contestant is one pool in it
    machine    what the figures were taken on
    report     the Markdown table         chart   the SVG picture
    __main__   the command

Importing this package must stay cheap: workers import it to find their tasks.
"""
