"""`make deploy-check`: every file that is shipped, read by what will read it, or by its schema, strictly.

    image       the Dockerfile, and the same steps without a container engine, up to a gateway that serves
    manifests   what kustomize makes of base, overlays and components
    envoy       the configurations of Envoy
    units       the unit of systemd
    prometheus  rules, their tests, and the page of /metrics
    schemas     the JSON schemas of Kubernetes and Istio
    tools       how commands are run, and where they are
    types       a Go program: the types of Istio and of the Prometheus operator

Those that have fields also misspell one in a copy, and fail where nobody notices.
"""
