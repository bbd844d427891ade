package repos

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"swr-gateway.dev/clients/go/gen/swrv1"
)

const (
	// Resumes in a row that lead no further.
	maxResumes = 3
	// Who is asked to wait longer wants to know rather than to wait.
	maxPatience = 30 * time.Second
)

// All calls each with the messages of StreamRepos, to the end of the list. A stream that breaks off is opened again behind the
// last message that came; what lies below is not asked for again. The context's deadline is for all of it; an error of
// each ends it.
func All(
	ctx context.Context, client swrv1.RepoServiceClient, request *swrv1.StreamReposRequest,
	each func(*swrv1.StreamReposResponse) error,
) error {
	request = proto.CloneOf(request)
	for inARow := 0; ; inARow++ {
		from := request.GetStartOffset()
		mayResume, err := read(ctx, client, request, each)
		if err == nil || !mayResume || ctx.Err() != nil {
			return err
		}
		if request.GetStartOffset() > from {
			inARow = 0
		}
		wait := waitBefore(ReadFailure(err), inARow)
		if inARow == maxResumes || wait > maxPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// read reads one stream, and moves the request on behind each message.
func read(
	ctx context.Context, client swrv1.RepoServiceClient, request *swrv1.StreamReposRequest,
	each func(*swrv1.StreamReposResponse) error,
) (mayResume bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a stream that is left before its end goes on for ever else
	stream, err := client.StreamRepos(ctx, request)
	if err != nil {
		return brokeOff(ReadFailure(err)), err
	}
	for {
		message, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			pushback := strings.Join(stream.Trailer().Get("grpc-retry-pushback-ms"), "")
			return brokeOff(ReadFailure(err)) && !strings.HasPrefix(pushback, "-"), err
		}
		if err := each(message); err != nil {
			return false, err
		}
		request.StartOffset = proto.Int32(max(request.GetStartOffset(), message.NextOffset))
	}
}

// brokeOff tells whether a stream ended for a reason that is not its own: the service cannot be reached, the connection broke,
// its messages were not read for too long.
func brokeOff(failure Failure) bool {
	switch failure.Code {
	case codes.Unavailable:
		return true
	case codes.Canceled: // not by us: a server that stops, or a proxy that loses it
		return failure.Reason == ""
	case codes.Internal:
		return failure.Reason == "" && strings.Contains(failure.Message, "RST_STREAM")
	case codes.Aborted:
		return failure.Reason == "SLOW_READER"
	}
	return false
}

func waitBefore(failure Failure, inARow int) time.Duration {
	if failure.RetryDelay > 0 {
		return failure.RetryDelay
	}
	most := min(100*time.Millisecond<<(2*inARow), time.Second)
	return 100*time.Millisecond + rand.N(most)
}
