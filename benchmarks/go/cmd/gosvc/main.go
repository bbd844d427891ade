// gosvc is a gateway as one writes it by hand: grpc-go, net/http and encoding/json, with their defaults, and a log line a call.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"swr-gateway/benchmarks/byhand"
	pb "swr-gateway/benchmarks/gateway/swr/v1"
)

const pageSize = 100

type service struct {
	pb.UnimplementedRepoServiceServer
	upstream string
	timeout  time.Duration
	client   http.Client
}

func (s *service) ListRepos(ctx context.Context, request *pb.ListReposRequest) (*pb.ListReposResponse, error) {
	repos, err := s.fetch(ctx, request.GetOffset(), request.GetLimit())
	slog.Info("call ended", "method", "ListRepos", "code", status.Code(err).String(), "rows", len(repos))
	if err != nil {
		return nil, err
	}
	return &pb.ListReposResponse{Repos: repos}, nil
}

func (s *service) StreamRepos(request *pb.StreamReposRequest, stream grpc.ServerStreamingServer[pb.StreamReposResponse]) error {
	size := request.GetPageSize()
	if size == 0 {
		size = pageSize
	}
	for offset := request.GetStartOffset(); ; offset += size {
		repos, err := s.fetch(stream.Context(), offset, size)
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.StreamReposResponse{Repos: repos, NextOffset: offset + size}); err != nil {
			return err
		}
		if len(repos) < int(size) {
			return nil
		}
	}
}

func (s *service) fetch(ctx context.Context, offset, limit int32) ([]*pb.Repo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	filter := fmt.Sprintf("center::self|offset::%d|limit::%d", offset, limit)
	target := s.upstream + "/v2/manage/repos?filter=" + url.QueryEscape(filter)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	for _, token := range metadata.ValueFromIncomingContext(ctx, "x-auth-token") {
		request.Header.Set("X-Auth-Token", token)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	if response.StatusCode != http.StatusOK {
		return nil, status.Error(codes.Unavailable, response.Status)
	}
	var rows []byhand.Row
	if err := json.Unmarshal(body, &rows); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return byhand.Repos(rows), nil
}

func main() {
	upstream := flag.String("upstream", "", "URL of the upstream")
	timeout := flag.Duration("timeout", 15*time.Second, "of a call")
	flag.Parse()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))

	// Of connections to one host the default keeps two, which leaves nothing to go wrong.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
	server := grpc.NewServer()
	pb.RegisterRepoServiceServer(server, &service{
		upstream: *upstream,
		timeout:  *timeout,
		client:   http.Client{Transport: transport},
	})
	slog.Info("serving on " + listener.Addr().String())

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}
