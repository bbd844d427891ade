// Package repos lists image repositories through a gateway.
package repos

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// serviceConfig is docs/service-config.json of the gateway: what is tried again, and how often.
//
//go:embed service-config.json
var serviceConfig string

// Config says where the gateway is, and who calls.
type Config struct {
	Target      string // host:port, or unix:/path
	Token       string // sent as x-auth-token with every call; empty sends none
	CA          string // PEM file of the authority; empty is plain text
	Certificate string // PEM file of the client's certificate, for mutual TLS
	Key         string // and of its key
}

// Connect opens a connection. Nothing is sent before the first call, so that a gateway which is not there is no error here.
func Connect(config Config, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	security, err := config.security()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// The gateway hangs up on who pings more often than every 5 s; grpc-go itself never pings more often than every 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		// By default the second try to connect comes after a second.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if config.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(token(config.Token)))
	}
	return grpc.NewClient(config.Target, append(options, more...)...)
}

func (c Config) security() (credentials.TransportCredentials, error) {
	if c.CA == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", c.CA)
	}
	settings := &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	if c.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return nil, err
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(settings), nil
}

type token string

func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"x-auth-token": string(t)}, nil
}

// RequireTransportSecurity lets the token go over plain text, in which anyone on the way can read it: to loopback, in a mesh.
func (token) RequireTransportSecurity() bool { return false }
