// Copyright The tally Authors
// SPDX-License-Identifier: Apache-2.0

package tallyprocessor

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/ottl"

	"github.com/logtally/tallyprocessor/internal/extract"
	"github.com/logtally/tallyprocessor/internal/selfmetrics"
	"github.com/logtally/tallyprocessor/internal/serieskey"
	"github.com/logtally/tallyprocessor/internal/userconfig"
)

var (
	errEmpty    = errors.New("must not be empty")
	errTwice    = errors.New("is named twice")
	errReserved = selfmetrics.ErrReserved
	errDefault  = errors.New("must be a string, a number, a bool, a list or a map")

	errOptionalDefault = errors.New("must not be set together with `optional`")
	errNeedsKey        = errors.New("needs `hmac_key`")
	errPlainResource   = errors.New("all resource attributes would be kept without a hash: with a `hash_function`, list those to keep")
	errAlsoPlain       = errors.New("`resource_attributes` keeps that attribute without a hash")
	errKeyUnused       = errors.New("is set, but no attribute has a `hash_function`")
	errGlobDefault     = errors.New("must not be set where `key` has `*`: records without such attributes are counted without them")
	errNotOurStore     = errors.New("must not be set together with `store`: set it at the extension that `store` names")
)

// What the queue may have at most. It is made at the start, and a number with some digits too many must not take all
// memory then.
const (
	mostConsumers = 10_000     // some 70 MB
	mostPlaces    = 10_000_000 // some 160 MB
)

// Validate returns all mistakes, each with its YAML key and the value found.
func (c *Config) Validate() error {
	parser, err := newParser()
	if err != nil {
		return err
	}
	errs := []error{
		validateNames("resource_attributes", c.ResourceAttributes, false),
		userconfig.NotNegative("attribute_value_length_limit", c.AttributeValueLengthLimit),
		userconfig.NotNegative("key_length_limit", c.KeyLengthLimit),
		userconfig.UpTo("queue::num_consumers", c.Queue.NumConsumers, mostConsumers, "each worker is started with the processor"),
		userconfig.UpTo("queue::queue_size", c.Queue.QueueSize, mostPlaces, "each place takes memory from the start"),
		userconfig.NotNegative("forget_after", c.ForgetAfter),
		userconfig.Positive("shutdown_timeout", c.ShutdownTimeout),
		userconfig.Durations(c),
	}
	if !c.LikeCount {
		errs = append(errs, selfmetrics.ValidateNames(c.descriptions(), c.Store == nil))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Logs)) {
		errs = append(errs, namedMetric{name, c.Logs[name], c.LikeCount}.validate("logs::"+name, parser))
	}
	if err := new(ottl.ErrorMode).UnmarshalText([]byte(c.ErrorMode)); err != nil {
		errs = append(errs, fmt.Errorf("`error_mode`: %w", err))
	}
	if err := new(FullPolicy).UnmarshalText([]byte(c.Queue.OnFull)); err != nil {
		errs = append(errs, fmt.Errorf("`queue::on_full`: %w", err))
	}
	errs = append(errs, c.validateHashes())
	if c.ForgetAfter > 0 && c.Store != nil {
		errs = append(errs, fmt.Errorf("`forget_after` is %v: %w", c.ForgetAfter, errNotOurStore))
	}
	return errors.Join(errs...)
}

// leastHMACKey is how long a key has to be, in bytes: as long as the hash, since shorter ones weaken it (RFC 2104,
// section 3).
const leastHMACKey = 32

// validateHashes wants a key where there are hashes, and there only, and nothing that keeps beside the hash what it
// shall hide. No message shows the key.
func (c *Config) validateHashes() error {
	var errs []error
	used := false
	for _, name := range slices.Sorted(maps.Keys(c.Logs)) {
		for i, a := range c.Logs[name].Attributes {
			if err := new(HashFunction).UnmarshalText([]byte(a.HashFunction)); err != nil {
				errs = append(errs, fmt.Errorf("`logs::%s::attributes::%d::hash_function`: %w", name, i, err))
			} else if a.HashFunction != HashNone && c.HMACKey == "" {
				errs = append(errs, fmt.Errorf("`logs::%s::attributes::%d::hash_function` is %q: %w", name, i, a.HashFunction, errNeedsKey))
			}
			if a.HashFunction != HashNone && a.Value == "" && c.keepsPlain(a) {
				errs = append(errs, fmt.Errorf("`logs::%s::attributes::%d::hash_function` of %q: %w", name, i, a.Key, errAlsoPlain))
			}
			used = used || a.HashFunction != HashNone
		}
	}
	if used && c.ResourceAttributes == nil {
		errs = append(errs, fmt.Errorf("`resource_attributes` is absent: %w", errPlainResource))
	}
	switch n := len(c.HMACKey); {
	case n > 0 && !used:
		errs = append(errs, fmt.Errorf("`hmac_key` %w", errKeyUnused))
	case n > 0 && n < leastHMACKey:
		errs = append(errs, fmt.Errorf("`hmac_key` has %d bytes: it must have at least %d", n, leastHMACKey))
	}
	return errors.Join(errs...)
}

// keepsPlain says whether a resource attribute may be in keys that an attribute finds, too.
func (c *Config) keepsPlain(a AttributeConfig) bool {
	return slices.ContainsFunc(c.ResourceAttributes, func(name string) bool { return extract.Overlap(name, a.Key) })
}

func (m namedMetric) validate(path string, parser *extract.Parser) error {
	var errs []error
	if m.name == "" {
		errs = append(errs, fmt.Errorf("`logs`: name of a metric: %w", errEmpty))
	}
	for i, condition := range m.Conditions {
		if _, err := parser.Condition(condition); err != nil {
			errs = append(errs, fmt.Errorf("`%s::conditions::%d` is %q: %w", path, i, condition, err))
		}
	}
	switch _, err := m.amount(parser); {
	case err != nil && userconfig.Closest(m.Sum, sumBytes) != "":
		errs = append(errs, fmt.Errorf("`%s::sum` is %q: did you mean `%s`?", path, m.Sum, sumBytes))
	case err != nil:
		errs = append(errs, fmt.Errorf("`%s::sum` is %q: %w", path, m.Sum, err))
	}
	names := make([]string, len(m.Attributes))
	for i, a := range m.Attributes {
		names[i] = a.Key
		errs = append(errs, a.validate(fmt.Sprintf("%s::attributes::%d", path, i), parser, m.likeCount))
	}
	errs = append(errs, validateNames(path+"::attributes", names, m.likeCount))
	if m.CardinalityLimit != nil {
		errs = append(errs, userconfig.NotNegative(path+"::cardinality_limit", *m.CardinalityLimit))
	}
	return errors.Join(errs...)
}

func (a AttributeConfig) validate(path string, parser *extract.Parser, likeCount bool) error {
	var errs []error
	_, err := a.compile(parser, likeCount)
	if err != nil {
		errs = append(errs, fmt.Errorf("`%s::value` is %q: %w", path, a.Value, err))
	}
	_, err = a.defaultValue()
	switch {
	case err != nil:
	case a.DefaultValue != nil && a.Optional:
		err = errOptionalDefault
	case a.DefaultValue != nil && a.isGlob(likeCount):
		err = errGlobDefault
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("`%s::default_value` is %v: %w", path, a.DefaultValue, err))
	}
	if a.Key == serieskey.OverflowAttribute {
		errs = append(errs, fmt.Errorf("`%s::key` is %q: %w", path, a.Key, errReserved))
	}
	return errors.Join(errs...)
}

// validateNames wants no name to be empty, and each once unless it may be repeated.
func validateNames(path string, names []string, repeated bool) error {
	var errs []error
	for i, name := range names {
		if name == "" {
			errs = append(errs, fmt.Errorf("`%s::%d`: name of an attribute: %w", path, i, errEmpty))
		} else if !repeated && slices.Contains(names[:i], name) {
			errs = append(errs, fmt.Errorf("`%s::%d`: attribute %q %w", path, i, name, errTwice))
		}
	}
	return errors.Join(errs...)
}
