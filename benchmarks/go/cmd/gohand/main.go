// gohand is a gateway as one writes it by hand, with what Go comes with.
package main

import (
	"encoding/json"

	"swr-gateway/benchmarks/byhand"
)

func main() {
	byhand.Serve(json.Unmarshal)
}
