// Command list lists image repositories through a gateway: a page of them, or with -all every one.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	"swr-gateway.dev/clients/go/gen/swrv1"
	"swr-gateway.dev/clients/go/repos"
)

func main() {
	var config repos.Config
	flag.StringVar(&config.Target, "target", "127.0.0.1:50051", "the gateway: host:port or unix:/path")
	flag.StringVar(&config.Token, "token", os.Getenv("SWR_GATEWAY_TARGET_TOKEN"), "the token of every call")
	flag.StringVar(&config.CA, "ca", "", "PEM file of the certificate authority; without it plain text")
	flag.StringVar(&config.Certificate, "cert", "", "PEM file of the client's certificate")
	flag.StringVar(&config.Key, "key", "", "PEM file of its key")
	namespace := flag.String("namespace", "", "organization that holds the repositories")
	all := flag.Bool("all", false, "list all of them, and not the first ten")
	timeout := flag.Duration("timeout", 30*time.Second, "time for all of it")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := list(ctx, config, *namespace, *all); err != nil {
		fmt.Fprintln(os.Stderr, repos.ReadFailure(err))
		os.Exit(1)
	}
}

func list(ctx context.Context, config repos.Config, namespace string, all bool) error {
	connection, err := repos.Connect(config)
	if err != nil {
		return err
	}
	defer connection.Close()
	client := swrv1.NewRepoServiceClient(connection)
	filter := &swrv1.RepoFilter{Namespace: namespace}
	if all {
		_, err := repos.All(ctx, client, &swrv1.StreamReposRequest{Filter: filter}, func(page *swrv1.StreamReposResponse) error {
			show(page.Repos)
			return nil
		})
		return err
	}
	page, err := client.ListRepos(ctx, &swrv1.ListReposRequest{Filter: filter, Offset: proto.Int32(0), Limit: proto.Int32(10)})
	if err != nil {
		return err
	}
	show(page.Repos)
	fmt.Println(page.ContentRange.GetTotal(), "in all")
	return nil
}

func show(list []*swrv1.Repo) {
	for _, repo := range list {
		fmt.Printf("%s/%s\t%d bytes\t%s\n", repo.Namespace, repo.Name, repo.Size, repo.UpdatedAt.AsTime().Format(time.RFC3339Nano))
	}
}
