package repos

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"swr-gateway.dev/clients/go-connect/gen/swrv1"
	"swr-gateway.dev/clients/go-connect/gen/swrv1/swrv1connect"
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
	ctx context.Context, client swrv1connect.RepoServiceClient, request *swrv1.StreamReposRequest,
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
	ctx context.Context, client swrv1connect.RepoServiceClient, request *swrv1.StreamReposRequest,
	each func(*swrv1.StreamReposResponse) error,
) (mayResume bool, err error) {
	stream, err := client.StreamRepos(ctx, connect.NewRequest(request))
	if err != nil {
		return brokeOff(ReadFailure(err)), err
	}
	defer stream.Close() // cancels a stream that is left before its end
	for stream.Receive() {
		if err := each(stream.Msg()); err != nil {
			return false, err
		}
		request.StartOffset = proto.Int32(max(request.GetStartOffset(), stream.Msg().NextOffset))
	}
	if err := stream.Err(); err != nil {
		return brokeOff(ReadFailure(err)), err
	}
	return false, nil
}

// brokeOff tells whether a stream ended for a reason that is not its own: the service cannot be reached, the connection broke,
// its messages were not read for too long.
func brokeOff(failure Failure) bool {
	if strings.HasPrefix(failure.Pushback, "-") {
		return false
	}
	switch failure.Code {
	case connect.CodeUnavailable:
		return true
	case connect.CodeCanceled, connect.CodeInternal, connect.CodeUnknown: // not by us: a reset, a connection that broke
		return failure.Reason == ""
	case connect.CodeAborted:
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
