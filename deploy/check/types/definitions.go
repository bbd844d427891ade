//go:build definitions

// Modules of which the definitions of kinds are read, and nothing is compiled: deploy/check/schemas.py.
package main

import (
	_ "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	_ "sigs.k8s.io/gateway-api/apis/v1"
)
