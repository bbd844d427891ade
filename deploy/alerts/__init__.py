"""`make alerts-check`: a real Prometheus scrapes real gateways while things go wrong, with the rules that are shipped.

Each alert fires once and clears, and each query of the dashboard shows something. An hour is two minutes here: windows,
`for` and the scrape interval are a thirtieth of their lengths, by machine (`scaling`), and nothing else of the rules is
changed. So it proves that what gateways export under a fault is what rules and dashboard ask for. That the lengths
themselves are right, the tests of the rules say (deploy/prometheus/tests). It takes a machine that does nothing else: a
scrape has half a second.

    scaling       rules and queries with shorter times
    prometheus    the server
    upstream      an upstream, and IAM, that do what they are told
    subjects      gateways, and their callers
    faults        what goes wrong
    certificates  likewise, of certificates that end and of files that are none
    alerts        which alerts fire, and how often
    dashboard     what each panel shows
"""
