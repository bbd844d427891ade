// Command interop drives the example's functions for the interop cases: commands on standard input, outcomes on standard output.
package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"

	"swr-gateway.dev/clients/go/gen/interop"
	"swr-gateway.dev/clients/go/repos"
)

func main() {
	input := bufio.NewReader(os.Stdin)
	var connection *grpc.ClientConn
	for {
		line, err := input.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return
		}
		must(err)
		command := new(interop.Command)
		content, err := base64.StdEncoding.DecodeString(line[:len(line)-1])
		must(err)
		must(proto.Unmarshal(content, command))
		outcome := new(interop.Outcome)
		switch kind := command.Kind.(type) {
		case *interop.Command_Connect:
			if connection != nil {
				connection.Close()
			}
			connection, err = connect(kind.Connect)
			must(err)
		case *interop.Command_Calls:
			outcome.Results = perform(connection, kind.Calls.Calls)
		}
		content, err = proto.Marshal(outcome)
		must(err)
		fmt.Println(base64.StdEncoding.EncodeToString(content))
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func connect(wanted *interop.Connect) (*grpc.ClientConn, error) {
	var more []grpc.DialOption
	if most := wanted.MaxReplyBytes; most > 0 {
		more = append(more, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(int(most))))
	}
	if wanted.EagerKeepalive {
		more = append(more, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: time.Second}))
	}
	return repos.Connect(repos.Config{
		Target: wanted.Target, Token: wanted.Token, CA: wanted.Ca, Certificate: wanted.Certificate, Key: wanted.Key,
	}, more...)
}

func perform(connection *grpc.ClientConn, calls []*interop.Call) []*interop.Result {
	results := make([]*interop.Result, len(calls))
	var all sync.WaitGroup
	for number, call := range calls {
		all.Go(func() { results[number] = performOne(connection, call) })
	}
	all.Wait()
	return results
}
