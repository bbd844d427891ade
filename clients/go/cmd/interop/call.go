package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"swr-gateway.dev/clients/go/gen/interop"
	"swr-gateway.dev/clients/go/gen/swrv1"
	"swr-gateway.dev/clients/go/repos"
)

func performOne(connection *grpc.ClientConn, call *interop.Call) *interop.Result {
	ctx, cancel := contextOf(call)
	defer cancel()
	result := &interop.Result{Metadata: map[string]string{}}
	var header, trailer metadata.MD
	options := append(optionsOf(call), grpc.Header(&header), grpc.Trailer(&trailer))
	client := swrv1.NewRepoServiceClient(connection)
	var err error
	switch request := call.Request.(type) {
	case *interop.Call_List:
		var page *swrv1.ListReposResponse
		if page, err = client.ListRepos(ctx, request.List, options...); err == nil {
			result.Pages = append(result.Pages, page)
		}
	case *interop.Call_Stream:
		err = stream(ctx, cancel, client, call, options, result)
	case *interop.Call_ListAll:
		err = repos.All(ctx, client, request.ListAll, func(message *swrv1.StreamReposResponse) error {
			result.Messages = append(result.Messages, message)
			return nil
		})
	case *interop.Call_Unknown:
		err = connection.Invoke(ctx, "/gateway.swr.v1.RepoService/Unknown", &emptypb.Empty{}, &emptypb.Empty{}, options...)
	}
	tell(err, header, trailer, result)
	return result
}

func contextOf(call *interop.Call) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(context.Background(), metadata.New(call.Metadata)))
	if call.TimeoutMs > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(call.TimeoutMs)*time.Millisecond)
	}
	if call.CancelAfterMs > 0 {
		time.AfterFunc(time.Duration(call.CancelAfterMs)*time.Millisecond, cancel)
	}
	return ctx, cancel
}

func optionsOf(call *interop.Call) []grpc.CallOption {
	var options []grpc.CallOption
	if call.WaitForReady {
		options = append(options, grpc.WaitForReady(true))
	}
	if call.Gzip {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	return options
}

func stream(
	ctx context.Context, cancel context.CancelFunc, client swrv1.RepoServiceClient, call *interop.Call,
	options []grpc.CallOption, result *interop.Result,
) error {
	messages, err := client.StreamRepos(ctx, call.GetStream(), options...)
	if err != nil {
		return err
	}
	for {
		message, err := messages.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		result.Messages = append(result.Messages, message)
		if len(result.Messages) == int(call.CancelAfterMessages) {
			cancel()
		}
		time.Sleep(time.Duration(call.PauseMs) * time.Millisecond)
	}
}

func tell(err error, header, trailer metadata.MD, result *interop.Result) {
	for name, values := range metadata.Join(header, trailer) {
		if !strings.HasSuffix(name, "-bin") {
			result.Metadata[name] = strings.Join(values, ",")
		}
	}
	if err == nil {
		return
	}
	failure := repos.ReadFailure(err)
	result.Code, result.Message = int32(failure.Code), failure.Message
	result.Reason, result.Domain, result.ErrorMetadata = failure.Reason, failure.Domain, failure.Metadata
	for _, violation := range failure.Violations {
		result.Violations = append(result.Violations, &interop.Violation{Field: violation.Field, Description: violation.Description})
	}
	result.RetryDelayMs, result.RequestId = failure.RetryDelay.Milliseconds(), failure.RequestID
	for _, detail := range status.Convert(err).Details() {
		if message, ok := detail.(proto.Message); ok {
			result.Details = append(result.Details, string(message.ProtoReflect().Descriptor().FullName()))
		}
	}
}
