// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package emit

import (
	"hash/maphash"

	"github.com/logtally/tallyprocessor/internal/serieskey"
)

// labelsOf returns the text of a key whose values are all strings, none of them empty: what is the same for keys that
// Prometheus holds for one series.
func labelsOf(key serieskey.Key) string {
	return serieskey.Key{Metric: key.Metric, Resource: asLabels(key.Resource), Attributes: asLabels(key.Attributes)}.String()
}

// labelsOfText is labelsOf for the text of a key.
func labelsOfText(text string) string {
	key, err := serieskey.Decode(text)
	if err != nil {
		return "" // nobody has these labels
	}
	return labelsOf(key)
}

func asLabels(list []serieskey.Attribute) []serieskey.Attribute {
	var labels []serieskey.Attribute
	for _, a := range list {
		if text := a.Value.AsString(); text != "" {
			labels = append(labels, serieskey.Attribute{Name: a.Name, Value: serieskey.StringValue(text)})
		}
	}
	return labels
}

// labelIndex finds series by their labels. It keeps hashes of these, which take a small part of the memory: a series
// that has the hash is asked for its labels.
type labelIndex struct {
	hash     func(labels string) uint64
	series   map[uint64]*series
	collided map[string]*series // those whose hash another one has, by labels
}

func newLabelIndex() *labelIndex {
	seed := maphash.MakeSeed()
	return &labelIndex{
		hash:   func(labels string) uint64 { return maphash.String(seed, labels) },
		series: map[uint64]*series{}, collided: map[string]*series{},
	}
}

// get returns the series with these labels, or nil.
func (x *labelIndex) get(labels string) *series {
	if s := x.series[x.hash(labels)]; s != nil && labelsOfText(s.text) == labels {
		return s
	}
	return x.collided[labels]
}

// put enters a series.
func (x *labelIndex) put(labels string, s *series) {
	h := x.hash(labels)
	if other := x.series[h]; other != nil && other != s {
		x.collided[labels] = s
		return
	}
	x.series[h] = s
}

// remove removes a series, if it is there.
func (x *labelIndex) remove(labels string, s *series) {
	if h := x.hash(labels); x.series[h] == s {
		delete(x.series, h)
	}
	delete(x.collided, labels)
}

// len returns how many series there are.
func (x *labelIndex) len() int { return len(x.series) + len(x.collided) }
