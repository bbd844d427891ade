"""The gateway beside what does the same job, on the same machine at the same time: `make bench-peers` runs it.

    __main__    what is run, in which order
    systems     the gateway of a tree, two by hand in Go, Envoy, and the bounds
    envoy       Envoy as one turns it into a gateway
    bounds      what no gateway in Python can do better than: an echo, a client
    reference   what a reply must be; verifies one
    running     a system that runs: pinned to its core, found serving
    load        calls, and what they cost
    rounds      all systems in turn, again and again
    growth      our gateway alone, with ever more to do
    figures     medians, ranges, ratios of the same round
    tables      of these, in Markdown
    plots       what is drawn
    drawing     of it an SVG, by matplotlib
    page        docs/performance.md, made of all that
    profile     where the gateway spends its time: `make profile`
    go          the load, the upstream and the gateways by hand

What is measured runs on one core, and what asks and answers it on another. Figures are ratios within a round: times
differ between machines, and between minutes.
"""
