"""`make deploy-check`: every file that is shipped, read by what will read it, or by its schema, strictly.

    image       the Dockerfile, and the same steps without a container engine, up to a gateway that serves
    manifests   what kustomize makes of base, overlays and components, and kustomizations, how that is made
    charts      the chart renders the same; chart, a Go program, renders it with Helm's packages
    validation  manifests against schemas and types
    envoy       the configurations of Envoy
    units       the unit of systemd
    prometheus  rules, their tests, and the page of /metrics
    schemas     the JSON schemas of Kubernetes, Istio, cert-manager and the Gateway API
    tools       how commands are run, and where they are
    types       a Go program: the types of Istio and of the Prometheus operator

Those that have fields also misspell one in a copy, and fail where nobody notices.
"""
