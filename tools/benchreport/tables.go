// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// targetsTable is the summary: each target with what was measured.
func targetsTable(all []outcome) *table {
	t := &table{head: []string{"About", "Figure", "Target:", "Measured:", "Verdict"}}
	for _, o := range all {
		measured := none
		if o.measured {
			measured = interval(o.Summary, o.unit)
		}
		t.add(o.about, o.what, o.goal(), measured, o.verdict())
	}
	return t
}

// costTable has what each contestant spends on a record, by workload.
func costTable(m *measurements, all []outcome) *table {
	t := &table{head: []string{"Workload"}}
	for _, by := range contestants {
		t.head = append(t.head, by+", ns:")
	}
	shown := []ratio{tallyByHand, countTally, signalTally}
	for _, r := range shown {
		t.head = append(t.head, r.String()+":")
	}
	t.head = append(t.head, "Target", "Verdict")
	for _, workload := range costs(m) {
		row := []string{titled(m, workload)}
		for _, by := range contestants {
			row = append(row, medianWithin(costOf(m, workload, by)))
		}
		for _, r := range shown {
			row = append(row, median(r.of(m, workload)))
		}
		t.add(append(row, goals(all, workload), verdicts(all, workload))...)
	}
	return t
}

// titled returns the name of a workload and what it is.
func titled(m *measurements, workload string) string {
	if what := m.workloads[strings.ToLower(workload)]; what != "" {
		return workload + ": " + what
	}
	return workload
}

// goals returns the targets of a workload.
func goals(all []outcome, workload string) string {
	var list []string
	for _, o := range all {
		if o.about == workload {
			list = append(list, o.what+" "+o.goal())
		}
	}
	return joined(list)
}

// verdicts returns what became of them, in one word if all are met.
func verdicts(all []outcome, workload string) string {
	var list []string
	met, has := true, false
	for _, o := range all {
		if o.about == workload {
			list = append(list, o.what+" "+o.verdict())
			met, has = met && o.met(), true
		}
	}
	if met && has {
		return "met"
	}
	return joined(list)
}

func joined(list []string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, "; ")
}

// keysTable has the cost of a record by how many keys are held.
func keysTable(m *measurements) *table {
	t := &table{head: []string{"Keys held:", "CPU ns per record:"}}
	for _, keys := range m.variants("Keys/keys=") {
		t.add(thousands(keys), medianWithin(m.values("Keys/keys="+keys, "cpu-ns/record")))
	}
	return t
}

// scalingTable has the throughput on one core and on two.
func scalingTable(m *measurements) *table {
	t := &table{head: []string{"What runs", "1 core, million records/s:", "2 cores, million records/s:", "Ratio:"}}
	for _, by := range m.variants("Scaling/by=") {
		one, two := throughput(m, by, "1"), throughput(m, by, "2")
		t.add(by, medianAs(one, millions), medianAs(two, millions), median(scaling(m, by)))
	}
	return t
}

// memoryTable has what a key takes.
func memoryTable(m *measurements) *table {
	t := &table{head: []string{"What holds the keys", "B/key, without the text of the key:", "Text of the key, B:"}}
	for _, by := range m.variants("Memory/by=") {
		t.add(by, medianWithin(memoryBeyondText(m, by)), median(memoryOfText(m, by)))
	}
	return t
}

// collectorTable has what a whole Collector spends, and what a component adds to it.
func collectorTable(m *measurements) *table {
	t := &table{head: []string{"Collector with", "CPU s per million records:", "Adds:"}}
	for _, with := range m.variants("Collector/with=") {
		adds := none
		if values := collectorSurplus(m, with); with != "none" && len(values) > 0 {
			adds = interval(summarize(values), " %")
		}
		t.add(with, medianWithin(collectorCost(m, with)), adds)
	}
	return t
}

// stallTable has how long a batch takes while the store is well, and while it stalls.
func stallTable(m *measurements) *table {
	t := &table{head: []string{"Run", "p50:", "p99:", "p99.9:"}}
	for _, run := range m.variants("Stall/") {
		row := []string{run}
		for _, unit := range []string{"p50-ns", "p99-ns", "p99.9-ns"} {
			row = append(row, medianAs(m.values("Stall/"+run, unit), duration))
		}
		t.add(row...)
	}
	return t
}
