// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

// The contestants of BenchmarkCount, in the order of the report.
var contestants = []string{"by-hand", "tally", "count", "signal_to_metrics"}

// ratio is how the costs of two contestants compare.
type ratio struct {
	a, b string
}

var (
	tallyByHand = ratio{"tally", "by-hand"}
	countTally  = ratio{"count", "tally"}
	signalTally = ratio{"signal_to_metrics", "tally"}
)

func (r ratio) String() string { return r.a + "/" + r.b }

// of returns the ratio in a workload, round by round.
func (r ratio) of(m *measurements, workload string) []float64 {
	return ratios(costOf(m, workload, r.a), costOf(m, workload, r.b))
}

// costs returns the workloads that were measured.
func costs(m *measurements) []string {
	return m.variants("Count/workload=")
}

// costOf returns what a contestant has spent on a record, in nanoseconds of CPU time.
func costOf(m *measurements, workload, by string) []float64 {
	return m.values("Count/workload="+workload+"/by="+by, "cpu-ns/record")
}

// throughput returns how many records a second went through.
func throughput(m *measurements, by, cores string) []float64 {
	return m.values("Scaling/by="+by+"/cores="+cores, "records/s")
}

// scaling returns how many times as many records go through on two cores.
func scaling(m *measurements, by string) []float64 {
	return ratios(throughput(m, by, "2"), throughput(m, by, "1"))
}

// memoryBeyondText returns the bytes that a key takes, those of its text left out.
func memoryBeyondText(m *measurements, by string) []float64 {
	return m.values("Memory/by="+by, "B/key")
}

// memoryOfText returns how long the text of a key is.
func memoryOfText(m *measurements, by string) []float64 {
	return m.values("Memory/by="+by, "key-B")
}

// collectorCost returns what a whole Collector has spent on a million records, in seconds of CPU time.
func collectorCost(m *measurements, with string) []float64 {
	return m.values("Collector/with="+with, "cpu-s/Mrecord")
}

// collectorSurplus returns what a component adds to a Collector that does not count, in percent.
func collectorSurplus(m *measurements, with string) []float64 {
	return surpluses(collectorCost(m, with), collectorCost(m, "none"))
}
