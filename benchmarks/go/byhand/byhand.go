// Package byhand is ListRepos as one writes it by hand: grpc-go, net/http, and a JSON library of one's choice.
package byhand

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "swr-gateway/benchmarks/gateway/swr/v1"
)

// As many connections are kept as there are calls in flight at the most: the default keeps two.
const kept = 1024

var codeOf = map[int]codes.Code{
	http.StatusBadRequest:          codes.InvalidArgument,
	http.StatusUnauthorized:        codes.Unauthenticated,
	http.StatusForbidden:           codes.PermissionDenied,
	http.StatusNotFound:            codes.NotFound,
	http.StatusConflict:            codes.AlreadyExists,
	http.StatusTooManyRequests:     codes.ResourceExhausted,
	http.StatusInternalServerError: codes.Internal,
	http.StatusBadGateway:          codes.Unavailable,
	http.StatusServiceUnavailable:  codes.Unavailable,
	http.StatusGatewayTimeout:      codes.DeadlineExceeded,
}

type service struct {
	pb.UnimplementedRepoServiceServer
	upstream  string
	client    http.Client
	unmarshal func([]byte, any) error
}

// Serve serves on any port, tells which on standard error, and never returns.
func Serve(unmarshal func([]byte, any) error) {
	upstream := flag.String("upstream", "", "URL of the upstream")
	flag.Parse()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = kept, kept
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterRepoServiceServer(server, &service{
		upstream:  *upstream,
		client:    http.Client{Transport: transport},
		unmarshal: unmarshal,
	})
	log.Print("serving on ", listener.Addr())
	log.Fatal(server.Serve(listener))
}

func (s *service) ListRepos(ctx context.Context, request *pb.ListReposRequest) (*pb.ListReposResponse, error) {
	response, err := s.get(ctx, s.upstream+"/v2/manage/repos?filter="+url.QueryEscape(filter(request)))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	if response.StatusCode != http.StatusOK {
		code, known := codeOf[response.StatusCode]
		if !known {
			code = codes.Unknown
		}
		return nil, status.Errorf(code, "HTTP %d: %.1000s", response.StatusCode, body)
	}
	var rows []Row
	if err := s.unmarshal(body, &rows); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &pb.ListReposResponse{Repos: Repos(rows), ContentRange: contentRange(response.Header.Get("Content-Range"))}, nil
}

func (s *service) get(ctx context.Context, target string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	for _, token := range metadata.ValueFromIncomingContext(ctx, "x-auth-token") {
		request.Header.Set("X-Auth-Token", token)
	}
	response, err := s.client.Do(request)
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return response, nil
}

func filter(request *pb.ListReposRequest) string {
	asked := request.GetFilter()
	clauses := []string{"center::self"}
	if asked.GetCenter() == pb.Center_CENTER_THIRD_PARTY {
		clauses[0] = "center::thirdparty"
	}
	for _, clause := range [][2]string{
		{"namespace", asked.GetNamespace()}, {"name", asked.GetName()}, {"category", asked.GetCategory()},
	} {
		if clause[1] != "" {
			clauses = append(clauses, clause[0]+"::"+clause[1])
		}
	}
	if request.Offset != nil || request.Limit != nil {
		clauses = append(clauses, fmt.Sprintf("offset::%d|limit::%d", request.GetOffset(), request.GetLimit()))
	}
	return strings.Join(clauses, "|")
}

func contentRange(header string) *pb.ContentRange {
	var found pb.ContentRange
	if _, err := fmt.Sscanf(header, "%d-%d/%d", &found.Offset, &found.Count, &found.Total); err != nil {
		return nil
	}
	return &found
}
