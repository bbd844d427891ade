// Command list lists image repositories through a gateway: a page of them, or with -all every one.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"swr-gateway.dev/clients/go-connect/gen/swrv1"
	"swr-gateway.dev/clients/go-connect/repos"
)

// How long a page may take, and the whole list.
const (
	timeout    = 10 * time.Second
	timeoutAll = 10 * time.Minute
)

func main() {
	// No flag has the token: others see flags, and -help would print it as the default.
	config := repos.Config{Token: os.Getenv("SWR_GATEWAY_TARGET_TOKEN")}
	flag.StringVar(&config.Target, "target", "127.0.0.1:50051", "the gateway: host:port or unix:/path")
	flag.StringVar(&config.CA, "ca", "", "PEM file of the certificate authority; without it plain text")
	flag.StringVar(&config.Certificate, "cert", "", "PEM file of the client's certificate")
	flag.StringVar(&config.Key, "key", "", "PEM file of its key")
	namespace := flag.String("namespace", "", "organization that holds the repositories")
	all := flag.Bool("all", false, "list all of them, and not the first ten")
	flag.Parse()

	if err := list(config, *namespace, *all); err != nil {
		fmt.Fprintln(os.Stderr, repos.ReadFailure(err))
		os.Exit(1)
	}
}

func list(config repos.Config, namespace string, all bool) error {
	client, err := repos.Connect(config)
	if err != nil {
		return err
	}
	filter := &swrv1.RepoFilter{Namespace: namespace}
	if all {
		ctx, cancel := context.WithTimeout(context.Background(), timeoutAll)
		defer cancel()
		return repos.All(ctx, client, &swrv1.StreamReposRequest{Filter: filter}, func(page *swrv1.StreamReposResponse) error {
			show(page.Repos)
			return nil
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	request := &swrv1.ListReposRequest{Filter: filter, Offset: proto.Int32(0), Limit: proto.Int32(10)}
	page, err := client.ListRepos(ctx, connect.NewRequest(request))
	if err != nil {
		return err
	}
	show(page.Msg.Repos)
	fmt.Println(len(page.Msg.Repos), "of", page.Msg.ContentRange.GetTotal())
	return nil
}

func show(list []*swrv1.Repo) {
	for _, repo := range list {
		fmt.Printf("%s/%s\t%d bytes\t%s\n", repo.Namespace, repo.Name, repo.Size, repo.UpdatedAt.AsTime().Format(time.RFC3339Nano))
	}
}
