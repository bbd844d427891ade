// Command types reads manifests from standard input into the Go types of those who define them, and refuses fields that
// these do not have. It looks at the kinds that come without a JSON schema of their own, and at Istio's, whose messages
// know more than their schema: of fields that exclude each other, for one.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1"
	security "istio.io/api/security/v1"
	documents "k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Kinds of the Prometheus operator: whole objects.
var objects = map[string]func() any{
	"monitoring.coreos.com/v1/PrometheusRule": func() any { return new(monitoring.PrometheusRule) },
	"monitoring.coreos.com/v1/ServiceMonitor": func() any { return new(monitoring.ServiceMonitor) },
}

// Kinds of Istio: their specs. The UnmarshalJSON of its own objects lets unknown fields pass.
var specs = map[string]func() proto.Message{
	"networking.istio.io/v1/DestinationRule":   func() proto.Message { return new(networking.DestinationRule) },
	"networking.istio.io/v1/VirtualService":    func() proto.Message { return new(networking.VirtualService) },
	"security.istio.io/v1/AuthorizationPolicy": func() proto.Message { return new(security.AuthorizationPolicy) },
	"security.istio.io/v1/PeerAuthentication":  func() proto.Message { return new(security.PeerAuthentication) },
}

type manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec json.RawMessage `json:"spec"`
}

// check tells whether it knows the kind of a document, and what is wrong with the document.
func check(document []byte) (name string, known bool, err error) {
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return "", true, err
	}
	var read manifest
	if err := json.Unmarshal(text, &read); err != nil {
		return "", true, err
	}
	kind := read.APIVersion + "/" + read.Kind
	name = read.Kind + " " + read.Metadata.Name
	if object, ok := objects[kind]; ok {
		// As clusters read it. encoding/json would take scrapeTimeOut for scrapeTimeout.
		unknown, err := strict.UnmarshalStrict(text, object())
		return name, true, errors.Join(append(unknown, err)...)
	}
	if spec, ok := specs[kind]; ok {
		return name, true, protojson.Unmarshal(read.Spec, spec())
	}
	return name, false, nil
}

func run(input io.Reader) (problems int, err error) {
	reader := documents.NewYAMLReader(bufio.NewReader(input))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return problems, nil
		}
		if err != nil {
			return problems, err
		}
		name, known, err := check(document)
		switch {
		case err != nil:
			problems++
			fmt.Printf("%s: %v\n", name, err)
		case known:
			fmt.Printf("%s: fits\n", name)
		}
	}
}

func main() {
	problems, err := run(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if problems > 0 {
		os.Exit(1)
	}
}
