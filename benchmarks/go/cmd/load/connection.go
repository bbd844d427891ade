package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Bytes that a server may send before it hears from us: more than any reply has, so that none waits for the load.
const streamWindow, connectionWindow = 16 << 20, 1 << 30

// A call is one stream of HTTP/2.
type call struct {
	began  time.Time
	bytes  int
	status string
}

// A connection speaks gRPC by frames. A client library costs as much as a server, and would be what is measured.
type connection struct {
	mutex   sync.Mutex // of all below but what is read
	in      *bufio.Reader
	out     *bufio.Writer
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	headers []hpack.HeaderField
	next    uint32
	calls   map[uint32]*call
	unread  uint32 // bytes that the server was not yet told of
	ended   func(*call)
}

func dial(address, method string) (*connection, error) {
	socket, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &connection{
		in:    bufio.NewReaderSize(socket, 512<<10),
		out:   bufio.NewWriterSize(socket, 64<<10),
		next:  1,
		calls: map[uint32]*call{},
		headers: []hpack.HeaderField{
			{Name: ":method", Value: "POST"},
			{Name: ":scheme", Value: "http"},
			{Name: ":path", Value: method},
			{Name: ":authority", Value: address},
			{Name: "te", Value: "trailers"},
			{Name: "content-type", Value: "application/grpc"},
			{Name: "grpc-timeout", Value: "60S"},
		},
	}
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer = http2.NewFramer(c.out, c.in)
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.out.WriteString(http2.ClientPreface)
	c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
	)
	c.framer.WriteWindowUpdate(0, connectionWindow)
	return c, c.out.Flush()
}

// begin writes a request, which is sent with the next flush.
func (c *connection) begin(request []byte, now time.Time) {
	c.block.Reset()
	for _, field := range c.headers {
		c.encoder.WriteField(field)
	}
	c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: c.block.Bytes(), EndHeaders: true})
	c.framer.WriteData(c.next, true, request)
	c.calls[c.next] = &call{began: now}
	c.next += 2
}

// serve reads frames for ever; it sends what was written when all that has come is read.
func (c *connection) serve() error {
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return err
		}
		c.mutex.Lock()
		err = c.handle(frame)
		if err == nil && c.in.Buffered() == 0 {
			err = c.out.Flush()
		}
		c.mutex.Unlock()
		if err != nil {
			return err
		}
	}
}

func (c *connection) handle(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.DataFrame:
		c.read(f)
	case *http2.MetaHeadersFrame:
		if current := c.calls[f.StreamID]; current != nil {
			for _, field := range f.Fields {
				if field.Name == "grpc-status" {
					current.status = field.Value
				}
			}
		}
		if f.StreamEnded() {
			c.end(f.StreamID)
		}
	case *http2.RSTStreamFrame:
		c.end(f.StreamID)
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		return fmt.Errorf("the server says good-bye: %v", f.ErrCode)
	}
	return nil
}

func (c *connection) read(f *http2.DataFrame) {
	c.unread += f.Length
	if c.unread > connectionWindow/16 {
		c.framer.WriteWindowUpdate(0, c.unread)
		c.unread = 0
	}
	if current := c.calls[f.StreamID]; current != nil {
		current.bytes += len(f.Data())
	}
	if f.StreamEnded() {
		c.end(f.StreamID)
	}
}

func (c *connection) end(stream uint32) {
	if current := c.calls[stream]; current != nil {
		delete(c.calls, stream)
		c.ended(current)
	}
}
