// load keeps so many calls in flight for a while, and tells in one line of JSON how many were answered, how soon, what
// a process has used of the CPU for them, and how busy the cores were.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"log"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	pb "swr-gateway/benchmarks/gateway/swr/v1"
)

var (
	address     = flag.String("address", "", "whom to call")
	inFlight    = flag.Int("in-flight", 64, "calls at once")
	connections = flag.Int("connections", 4, "that they are spread over")
	seconds     = flag.Float64("seconds", 2, "that are measured")
	warm        = flag.Float64("warm", 0.5, "seconds before these")
	limit       = flag.Int("limit", 100, "rows of a page")
	pages       = flag.Int("pages", 8, "different requests")
	namespace   = flag.String("namespace", "team-01", "of the filter")
	stream      = flag.Bool("stream", false, "call StreamRepos, for all repositories")
	process     = flag.Int("process", 0, "whose CPU is measured")

	bursts = flag.Bool("bursts", false, "begin all calls at once, again when the last one has ended")

	measuring atomic.Bool
	ended     atomic.Int64 // calls of a pause
	open      atomic.Int64 // calls of a burst
	over      = make(chan struct{}, 1)
)

// A worker is a connection and what became of its calls.
type worker struct {
	*connection
	requests  [][]byte
	latencies []time.Duration
	failed    map[string]int
	number    int
}

type report struct {
	Seconds float64        `json:"seconds"`
	Calls   int            `json:"calls"`
	Failed  map[string]int `json:"failed"`
	P50     float64        `json:"p50"` // seconds, as all of these
	P99     float64        `json:"p99"`
	CPU     float64        `json:"cpu"`
	Busy    []float64      `json:"busy"`
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	workers := connect()
	if !*bursts {
		ask(workers)
	}
	pause(workers, *warm)
	cpu, busy, began := cpuSeconds(*process), busySeconds(), time.Now()
	measuring.Store(true)
	pause(workers, *seconds)
	measuring.Store(false)
	made := report{Seconds: time.Since(began).Seconds(), CPU: cpuSeconds(*process) - cpu, Busy: busySeconds()}
	for core := range made.Busy {
		made.Busy[core] -= busy[core]
	}
	made.add(workers)
	if err := json.NewEncoder(os.Stdout).Encode(made); err != nil {
		log.Fatal(err)
	}
}

func connect() []*worker {
	method := "/gateway.swr.v1.RepoService/ListRepos"
	if *stream {
		method = "/gateway.swr.v1.RepoService/StreamRepos"
	}
	requests := requests()
	var workers []*worker
	for number := range min(*connections, *inFlight) {
		connection, err := dial(*address, method)
		if err != nil {
			log.Fatal(err)
		}
		made := &worker{connection: connection, requests: requests, failed: map[string]int{}, number: number * 3}
		connection.ended = made.count
		workers = append(workers, made)
		go func() { log.Fatal(made.serve()) }()
	}
	return workers
}

// ask begins as many calls as are to be in flight.
func ask(workers []*worker) {
	open.Store(int64(*inFlight))
	for first, w := range workers {
		w.mutex.Lock()
		for number := first; number < *inFlight; number += len(workers) {
			w.ask(time.Now())
		}
		if err := w.out.Flush(); err != nil {
			log.Fatal(err)
		}
		w.mutex.Unlock()
	}
}

// pause lets calls be answered for so long, and until as many have ended as are in flight: where each takes long, they end
// all at once, and a window might have none of them. Of bursts the last one is over behind it.
func pause(workers []*worker, seconds float64) {
	ends := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	ended.Store(0)
	for time.Now().Before(ends) || ended.Load() < int64(*inFlight) {
		if *bursts {
			ask(workers)
			<-over
		} else {
			time.Sleep(min(max(time.Until(ends), time.Millisecond), time.Second))
		}
	}
}

func (w *worker) ask(now time.Time) {
	w.begin(w.requests[w.number%len(w.requests)], now)
	w.number++
}

// count counts a call that has ended, and makes another in its place.
func (w *worker) count(made *call) {
	now := time.Now()
	if measuring.Load() {
		if made.status == "0" && made.bytes > 0 {
			w.latencies = append(w.latencies, now.Sub(made.began))
		} else {
			w.failed["status "+made.status]++
		}
	}
	ended.Add(1)
	if !*bursts {
		w.ask(now)
	} else if open.Add(-1) == 0 {
		over <- struct{}{}
	}
}

func (r *report) add(workers []*worker) {
	var all []time.Duration
	r.Failed = map[string]int{}
	for _, w := range workers {
		w.mutex.Lock()
		all = append(all, w.latencies...)
		for status, count := range w.failed {
			r.Failed[status] += count
		}
		w.mutex.Unlock()
	}
	r.Calls = len(all)
	if len(all) > 0 {
		slices.Sort(all)
		r.P50 = all[len(all)/2].Seconds()
		r.P99 = all[len(all)*99/100].Seconds()
	}
}

// requests returns messages as they are sent, behind their length.
func requests() [][]byte {
	var made [][]byte
	for number := range *pages {
		body, err := proto.Marshal(request(int32(number * 100)))
		if err != nil {
			log.Fatal(err)
		}
		head := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
		made = append(made, append(head, body...))
	}
	return made
}

func request(offset int32) proto.Message {
	filter := &pb.RepoFilter{Center: pb.Center_CENTER_SELF, Namespace: *namespace}
	rows := proto.Int32(int32(*limit))
	if *stream {
		return &pb.StreamReposRequest{Filter: filter, PageSize: rows}
	}
	return &pb.ListReposRequest{Filter: filter, Offset: &offset, Limit: rows}
}
