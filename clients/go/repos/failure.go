package repos

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Failure is what a failed call tells. What the gateway did not tell is empty.
type Failure struct {
	Code       codes.Code
	Message    string
	Reason     string            // such as UPSTREAM_RATE_LIMITED: docs/errors.md of the gateway lists them
	Domain     string            // gateway.swr.v1
	Metadata   map[string]string // httpStatus, upstreamCode, attempts, phase
	Violations []*errdetails.BadRequest_FieldViolation
	RetryDelay time.Duration // after which a new try is sensible
	RequestID  string        // to quote to the gateway's operators
}

// ReadFailure reads the error of a call.
func ReadFailure(err error) Failure {
	read := status.Convert(err)
	failure := Failure{Code: read.Code(), Message: read.Message()}
	for _, detail := range read.Details() {
		switch detail := detail.(type) {
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
