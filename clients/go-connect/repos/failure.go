package repos

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// Failure is what a failed call tells. What the gateway did not tell is empty.
type Failure struct {
	Code       connect.Code
	Message    string
	Reason     string            // such as UPSTREAM_RATE_LIMITED: docs/errors.md of the gateway lists them
	Domain     string            // gateway.swr.v1
	Metadata   map[string]string // httpStatus, upstreamCode, attempts, phase
	Violations []*errdetails.BadRequest_FieldViolation
	RetryDelay time.Duration // after which a new try is sensible
	RequestID  string        // to quote to the gateway's operators
	Pushback   string        // milliseconds to stay away; a negative number asks not to try again
}

// ReadFailure reads the error of a call.
func ReadFailure(err error) Failure {
	failure := Failure{Code: connect.CodeOf(err), Message: err.Error()}
	var read *connect.Error
	if !errors.As(err, &read) {
		return failure
	}
	failure.Message = read.Message()
	failure.Pushback = read.Meta().Get("grpc-retry-pushback-ms")
	for _, detail := range read.Details() {
		value, err := detail.Value()
		if err != nil {
			continue // of a type that this program does not know
		}
		switch detail := value.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason, failure.Domain, failure.Metadata = detail.Reason, detail.Domain, detail.Metadata
		case *errdetails.BadRequest:
			failure.Violations = detail.FieldViolations
		case *errdetails.RetryInfo:
			failure.RetryDelay = detail.RetryDelay.AsDuration()
		case *errdetails.RequestInfo:
			failure.RequestID = detail.RequestId
		}
	}
	return failure
}

// String tells a person what is wrong.
func (f Failure) String() string {
	lines := []string{fmt.Sprintf("%s: %s", f.Code, f.Message)}
	for _, violation := range f.Violations {
		lines = append(lines, fmt.Sprintf("  %s %s", violation.Field, violation.Description))
	}
	if f.Reason != "" {
		lines = append(lines, fmt.Sprintf("  reason %s %v", f.Reason, f.Metadata))
	}
	if f.RetryDelay > 0 {
		lines = append(lines, fmt.Sprintf("  try again in %s", f.RetryDelay))
	}
	if f.RequestID != "" {
		lines = append(lines, fmt.Sprintf("  request %s", f.RequestID))
	}
	return strings.Join(lines, "\n")
}
