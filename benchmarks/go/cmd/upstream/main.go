// upstream plays the list of repositories of SWR, as cheaply as a server can: it reads of a request no more than its
// target, and answers with bytes that were made once.
//
//	GET /v2/manage/repos?filter=center::self|namespace::team-01|offset::0|limit::100
//
// Any filter matches all rows. A page of the namespace `rows-5000` has 5000 rows, whatever its limit, and one of `wait-50`
// takes 50 ms.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"time"
)

type row struct {
	Name         string   `json:"name"`
	Category     string   `json:"category"`
	Description  string   `json:"description"`
	Size         int64    `json:"size"`
	IsPublic     bool     `json:"is_public"`
	NumImages    int      `json:"num_images"`
	NumDownload  int      `json:"num_download"`
	CreatedAt    string   `json:"created_at"`
	UpdatedAt    string   `json:"updated_at"`
	URL          string   `json:"url"`
	Path         string   `json:"path"`
	InternalPath string   `json:"internal_path"`
	DomainName   string   `json:"domain_name"`
	Namespace    string   `json:"namespace"`
	Tags         []string `json:"tags"`
	Status       bool     `json:"status"`
}

var (
	total = flag.Int("total", 25_000, "repositories in all")

	categories   = []string{"app_server", "linux", "framework_app", "database", "lang", "other", "windows", "arm"}
	descriptions = []string{"", "base image of the build farm", "含中文的描述 — nightly", "Quotes \"and\" back\\slashes\nand a new line"}

	position = regexp.MustCompile(`offset::(\d+)\|limit::(\d+)`)
	rows     = regexp.MustCompile(`namespace::rows-(\d+)`)
	wait     = regexp.MustCompile(`namespace::wait-(\d+)`)
)

type upstream struct {
	rows    [][]byte
	answers sync.Map // by target
}

type answer struct {
	bytes   []byte
	latency time.Duration
}

func main() {
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := &upstream{}
	for number := range *total {
		served.rows = append(served.rows, render(number))
	}
	log.Print("serving on ", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go served.serve(connection)
	}
}

// render makes a row of some 450 bytes, with all that a row may hold: each in its own way, and the same at every start.
func render(number int) []byte {
	namespace, name := fmt.Sprintf("team-%02d", number%37), fmt.Sprintf("repo-%05d", number)
	var tags []string
	for tag := range number%4 + 1 {
		tags = append(tags, fmt.Sprintf("v1.%d.%d", number%17, tag))
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(row{
		Name:         name,
		Category:     categories[number%len(categories)],
		Description:  descriptions[number%len(descriptions)],
		Size:         200_977_474 + int64(number)*9_973_331,
		IsPublic:     number%3 == 0,
		NumImages:    number%4 + 1,
		NumDownload:  number * 7919 % 100_000,
		CreatedAt:    time.Unix(1_483_228_800+int64(number)*3607, 0).UTC().Format(time.RFC3339),
		UpdatedAt:    updated(number).Format("2006-01-02T15:04:05.000000000Z"),
		Path:         "swr.cn-north-1.myhuaweicloud.com/" + namespace + "/" + name,
		InternalPath: "10.125.0.198:20202/" + namespace + "/" + name,
		DomainName:   "root",
		Namespace:    namespace,
		Tags:         tags,
	}); err != nil {
		log.Fatal(err)
	}
	return bytes.TrimSpace(buffer.Bytes())
}

// updated has nine digits behind the point that mean something, as those of SWR have.
func updated(number int) time.Time {
	return time.Unix(1_505_098_802+int64(number)*7211, (542_841_141+int64(number)*1_234_567)%1_000_000_000|1).UTC()
}

func (u *upstream) serve(connection net.Conn) {
	defer connection.Close()
	in := bufio.NewReaderSize(connection, 64<<10)
	for {
		target, err := read(in)
		if err != nil {
			return
		}
		known, found := u.answers.Load(target)
		if !found {
			known, _ = u.answers.LoadOrStore(target, u.answer(target))
		}
		made := known.(answer)
		time.Sleep(made.latency)
		if _, err := connection.Write(made.bytes); err != nil {
			return
		}
	}
}

// read returns the target of the next request. Some clients send a body, which is empty and in chunks.
func read(in *bufio.Reader) (string, error) {
	var target string
	ends := 1
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case err != nil:
			return "", err
		case len(line) <= 2:
			if ends--; ends == 0 {
				return target, nil
			}
		case target == "":
			if fields := bytes.Fields(line); len(fields) > 1 {
				target = string(fields[1])
			}
		case bytes.HasPrefix(bytes.ToLower(line), []byte("transfer-encoding: chunked")):
			ends++
		}
	}
}

func (u *upstream) answer(target string) answer {
	parsed, err := url.Parse(target)
	if err != nil {
		return answer{bytes: response("400 Bad Request", "", []byte(`{"errors":[]}`))}
	}
	filter := parsed.Query().Get("filter")
	offset, limit, header := 0, 100, ""
	if found := position.FindStringSubmatch(filter); found != nil {
		offset, limit = atoi(found[1]), atoi(found[2])
		header = "Content-Range: %d-%d/%d\r\n"
	}
	if found := rows.FindStringSubmatch(filter); found != nil {
		limit = atoi(found[1])
	}
	var latency time.Duration
	if found := wait.FindStringSubmatch(filter); found != nil {
		latency = time.Duration(atoi(found[1])) * time.Millisecond
	}
	offset = min(offset, len(u.rows))
	page := u.rows[offset:min(offset+limit, len(u.rows))]
	if header != "" {
		header = fmt.Sprintf(header, offset, len(page), len(u.rows))
	}
	return answer{bytes: response("200 OK", header, array(page)), latency: latency}
}

func array(page [][]byte) []byte {
	return append(append([]byte("["), bytes.Join(page, []byte(","))...), ']')
}

func response(status, header string, body []byte) []byte {
	head := "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Request-Id: 1\r\n%s\r\n"
	return append(fmt.Appendf(nil, head, status, len(body), header), body...)
}

// atoi reads what an expression has found to be digits.
func atoi(digits string) int {
	number, _ := strconv.Atoi(digits)
	return number
}
