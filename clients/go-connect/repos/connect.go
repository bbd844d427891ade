// Package repos lists image repositories through a gateway.
package repos

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"

	"swr-gateway.dev/clients/go-connect/gen/swrv1/swrv1connect"
)

// Config says where the gateway is, and who calls.
type Config struct {
	Target      string // host:port, or unix:/path
	Token       string // sent as x-auth-token with every call; empty sends none
	CA          string // PEM file of the authority; empty is plain text
	Certificate string // PEM file of the client's certificate, for mutual TLS
	Key         string // and of its key

	// PingAfter is how long a connection is quiet before it is asked whether it is there. The gateway hangs up on who asks
	// more often than every 5 s. 0 is 30 s.
	PingAfter time.Duration
}

// Connect makes a client. Nothing is connected before the first call.
func Connect(config Config, more ...connect.ClientOption) (swrv1connect.RepoServiceClient, error) {
	client, base, err := HTTPClient(config)
	if err != nil {
		return nil, err
	}
	// Without WithGRPC it speaks Connect's own protocol, which the gateway does not.
	return swrv1connect.NewRepoServiceClient(client, base, append([]connect.ClientOption{connect.WithGRPC()}, more...)...), nil
}

// HTTPClient makes what carries the calls, and the URL that they go to.
func HTTPClient(config Config) (*http.Client, string, error) {
	// gRPC is HTTP/2 and nothing else; without TLS it has to be said.
	protocols := new(http.Protocols)
	transport := &http.Transport{
		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: cmp.Or(config.PingAfter, 30*time.Second),
			PingTimeout:     20 * time.Second,
		},
	}
	scheme, host := "http", config.Target
	if path, isUnix := strings.CutPrefix(config.Target, "unix:"); isUnix {
		host = "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	} else {
		transport.Proxy = http.ProxyFromEnvironment
	}
	if config.CA == "" {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		settings, err := config.tls()
		if err != nil {
			return nil, "", err
		}
		scheme, transport.TLSClientConfig = "https", settings
		protocols.SetHTTP2(true)
	}
	return &http.Client{Transport: withToken{config.Token, transport}}, scheme + "://" + host, nil
}

func (c Config) tls() (*tls.Config, error) {
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
	return settings, nil
}

// withToken sends the token with every request, of streams too.
type withToken struct {
	token string
	next  http.RoundTripper
}

func (t withToken) RoundTrip(request *http.Request) (*http.Response, error) {
	if t.token != "" {
		request = request.Clone(request.Context())
		request.Header.Set("x-auth-token", t.token)
	}
	return t.next.RoundTrip(request)
}
