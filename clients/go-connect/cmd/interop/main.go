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

	"google.golang.org/protobuf/proto"

	"swr-gateway.dev/clients/go-connect/gen/interop"
)

func main() {
	input := bufio.NewReader(os.Stdin)
	var connection *connection
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
				connection.http.CloseIdleConnections()
			}
			connection, err = open(kind.Connect)
			must(err)
		case *interop.Command_Calls:
			outcome = connection.perform(kind.Calls.Calls)
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

func (c *connection) perform(calls []*interop.Call) *interop.Outcome {
	results := make([]*interop.Result, len(calls))
	var all sync.WaitGroup
	for number, call := range calls {
		if call.WaitForReady {
			return &interop.Outcome{Unsupported: "connect-go does not wait for a server: net/http fails where nobody listens."}
		}
		all.Go(func() { results[number] = c.performOne(call) })
	}
	all.Wait()
	return &interop.Outcome{Results: results}
}
