package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What the kernel counts in /proc/stat, in hundredths of a second.
const ticks = 100

// cpuSeconds returns what the threads of a process have used of the CPU: to the nanosecond, for a single call is little.
func cpuSeconds(process int) float64 {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", process))
	used := 0.0
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		used += number(bytes.Fields(text)[0])
	}
	return used / 1e9
}

// busySeconds returns for each core how long it has worked, whoever it was for.
func busySeconds() []float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		log.Fatal(err)
	}
	var busy []float64
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 8 || fields[0] == "cpu" || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		sum := 0.0
		for _, column := range []int{1, 2, 3, 6, 7} { // user, nice, system, irq, softirq
			sum += number([]byte(fields[column]))
		}
		busy = append(busy, sum/ticks)
	}
	return busy
}

func number(digits []byte) float64 {
	value, err := strconv.ParseFloat(string(digits), 64)
	if err != nil {
		log.Fatal(err)
	}
	return value
}
