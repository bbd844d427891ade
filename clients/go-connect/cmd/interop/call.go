package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"

	"swr-gateway.dev/clients/go-connect/gen/interop"
	"swr-gateway.dev/clients/go-connect/gen/swrv1"
	"swr-gateway.dev/clients/go-connect/gen/swrv1/swrv1connect"
	"swr-gateway.dev/clients/go-connect/repos"
)

// connection is a client, the same one that compresses its requests, and what carries their calls.
type connection struct {
	http          *http.Client
	base          string
	plain, zipped swrv1connect.RepoServiceClient
}

func open(wanted *interop.Connect) (*connection, error) {
	config := repos.Config{
		Target: wanted.Target, Token: wanted.Token, CA: wanted.Ca, Certificate: wanted.Certificate, Key: wanted.Key,
	}
	if wanted.EagerKeepalive {
		config.PingAfter = time.Second
	}
	var options []connect.ClientOption
	if most := wanted.MaxReplyBytes; most > 0 {
		options = append(options, connect.WithReadMaxBytes(int(most)))
	}
	client, base, err := repos.HTTPClient(config)
	if err != nil {
		return nil, err
	}
	plain, err := repos.Connect(config, options...)
	if err != nil {
		return nil, err
	}
	zipped, err := repos.Connect(config, append(options, connect.WithSendGzip())...)
	return &connection{client, base, plain, zipped}, err
}

func (c *connection) performOne(call *interop.Call) *interop.Result {
	ctx, cancel := contextOf(call)
	defer cancel()
	result := &interop.Result{Metadata: map[string]string{}}
	client := c.plain
	if call.Gzip {
		client = c.zipped
	}
	var err error
	switch request := call.Request.(type) {
	case *interop.Call_List:
		var page *connect.Response[swrv1.ListReposResponse]
		if page, err = client.ListRepos(ctx, requestOf(request.List, call)); err == nil {
			result.Pages = append(result.Pages, page.Msg)
			tellMetadata(result, page.Header(), page.Trailer())
		}
	case *interop.Call_Stream:
		err = stream(ctx, cancel, client, call, result)
	case *interop.Call_ListAll:
		err = repos.All(ctx, client, request.ListAll, func(message *swrv1.StreamReposResponse) error {
			result.Messages = append(result.Messages, message)
			return nil
		})
	case *interop.Call_Unknown:
		url := c.base + "/gateway.swr.v1.RepoService/Unknown"
		_, err = connect.NewClient[emptypb.Empty, emptypb.Empty](c.http, url, connect.WithGRPC()).
			CallUnary(ctx, requestOf(&emptypb.Empty{}, call))
	}
	if err != nil {
		tell(err, result)
	}
	return result
}

func contextOf(call *interop.Call) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	if call.TimeoutMs > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(call.TimeoutMs)*time.Millisecond)
	}
	if call.CancelAfterMs > 0 {
		time.AfterFunc(time.Duration(call.CancelAfterMs)*time.Millisecond, cancel)
	}
	return ctx, cancel
}

func requestOf[Message any](message *Message, call *interop.Call) *connect.Request[Message] {
	request := connect.NewRequest(message)
	for name, value := range call.Metadata {
		request.Header().Set(name, value)
	}
	return request
}

func stream(
	ctx context.Context, cancel context.CancelFunc, client swrv1connect.RepoServiceClient, call *interop.Call, result *interop.Result,
) error {
	messages, err := client.StreamRepos(ctx, requestOf(call.GetStream(), call))
	if err != nil {
		return err
	}
	defer messages.Close()
	for messages.Receive() {
		result.Messages = append(result.Messages, messages.Msg())
		if len(result.Messages) == int(call.CancelAfterMessages) {
			cancel()
		}
		time.Sleep(time.Duration(call.PauseMs) * time.Millisecond)
	}
	tellMetadata(result, messages.ResponseHeader(), messages.ResponseTrailer())
	return messages.Err()
}

func tellMetadata(result *interop.Result, all ...http.Header) {
	for _, header := range all {
		for name, values := range header {
			if name = strings.ToLower(name); !strings.HasSuffix(name, "-bin") {
				result.Metadata[name] = strings.Join(values, ",")
			}
		}
	}
}

func tell(err error, result *interop.Result) {
	failure := repos.ReadFailure(err)
	result.Code, result.Message = int32(failure.Code), failure.Message
	result.Reason, result.Domain, result.ErrorMetadata = failure.Reason, failure.Domain, failure.Metadata
	for _, violation := range failure.Violations {
		result.Violations = append(result.Violations, &interop.Violation{Field: violation.Field, Description: violation.Description})
	}
	result.RetryDelayMs, result.RequestId = failure.RetryDelay.Milliseconds(), failure.RequestID
	var read *connect.Error
	if errors.As(err, &read) {
		tellMetadata(result, read.Meta())
		for _, detail := range read.Details() {
			if _, err := detail.Value(); err == nil {
				result.Details = append(result.Details, detail.Type())
			}
		}
	}
}
