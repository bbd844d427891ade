// gosonic is gohand with the fastest JSON there is for Go, which uses the CPU's vector instructions.
package main

import (
	"github.com/bytedance/sonic"

	"swr-gateway/benchmarks/byhand"
)

func main() {
	byhand.Serve(sonic.Unmarshal)
}
